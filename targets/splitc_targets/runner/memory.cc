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
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

Mapping Mapping::Anonymous(uint64_t bytes) {
  if (bytes == 0) bytes = 1;
  // Whole large pages, and room to begin at the first of one.
  const bool large = bytes >= kLargePage;
  const uint64_t kept = large ? (bytes + kLargePage - 1) / kLargePage * kLargePage : bytes;
  const uint64_t room = large ? kept + kLargePage : kept;
  void* found = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) FailPlainly("splitc-run: memory: not enough\n");
  if (!large) return Mapping(found, bytes, bytes);
  uint8_t* first = static_cast<uint8_t*>(found);
  const uint64_t before = -reinterpret_cast<uintptr_t>(first) % kLargePage;
  uint8_t* data = first + before;
  if (before > 0) munmap(first, before);
  if (before < kLargePage) munmap(data + kept, kLargePage - before);
  // All of it is written and read from end to end: one fault for 512. And what lies together
  // falls on different lines of a core's L2: small pages are anywhere, some on the same.
  madvise(data, kept, MADV_HUGEPAGE);
  return Mapping(data, bytes, kept);
}

Mapping Mapping::OfFile(const OpenedFile& file, const std::string& path) {
  if (file.size == 0) return Anonymous(0);
  void* data = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (data == MAP_FAILED) Fail(ExitCode::kCannotLoad, path, "cannot map: " + LastSystemError());
  return Mapping(data, file.size, file.size);
}

void Mapping::Drop() { madvise(data_, bytes_, MADV_DONTNEED); }

}  // namespace splitc
