// SPDX-License-Identifier: Apache-2.0
//
// mmap.

#include "memory.h"

#include <sys/mman.h>

#include <utility>

#include "error.h"

namespace splitc {
namespace {

// The size of a large page on both instruction sets; with fewer bytes there is none to have.
constexpr uint64_t kLargePage = 2 << 20;

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Mapping Mapping::Anonymous(uint64_t bytes) {
  if (bytes == 0) bytes = 1;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) FailPlainly("splitc-run: memory: not enough\n");
  // All of it is written and read from end to end: one fault for 512.
  if (bytes >= kLargePage) madvise(data, bytes, MADV_HUGEPAGE);
  return Mapping(data, bytes);
}

Mapping Mapping::OfFile(const OpenedFile& file, const std::string& path) {
  if (file.size == 0) return Anonymous(0);
  void* data = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (data == MAP_FAILED) Fail(ExitCode::kCannotLoad, path, "cannot map: " + LastSystemError());
  return Mapping(data, file.size);
}

void Mapping::Drop() { madvise(data_, bytes_, MADV_DONTNEED); }

}  // namespace splitc
