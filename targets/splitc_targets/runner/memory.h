// SPDX-License-Identifier: Apache-2.0
//
// Memory that is mapped, not allocated: a part's weights from their file, and what is as
// large as they are.

#ifndef SPLITC_RUNNER_MEMORY_H_
#define SPLITC_RUNNER_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "file_util.h"

namespace splitc {

// Pages, unmapped when it ends. Takes no memory before it is touched.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Zeroed, aligned to a page, a large one from its size on; at least one byte.
  static Mapping Anonymous(uint64_t bytes);
  // The file's bytes, read only; `path` is for messages. A file of no bytes maps to one
  // zero.
  static Mapping OfFile(const OpenedFile& file, const std::string& path);

  void* data() const { return data_; }
  // What was asked for, which may be one byte for none.
  uint64_t bytes() const { return bytes_; }

  // Gives the memory back that a file's pages take here; they come back when read.
  void Drop();

 private:
  Mapping(void* data, uint64_t bytes, uint64_t mapped)
      : data_(data), bytes_(bytes), mapped_(mapped) {}

  void* data_ = nullptr;
  uint64_t bytes_ = 0;
  uint64_t mapped_ = 0;  // from data_ on: whole large pages, where it fills one
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_MEMORY_H_
