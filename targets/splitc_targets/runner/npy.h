// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing .npy files (NumPy's format, versions 1.0 to 3.0; C order
// and little endian only). Both go piece by piece, so a stack of samples need
// not fit in memory.

#ifndef SPLITC_RUNNER_NPY_H_
#define SPLITC_RUNNER_NPY_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "dtype.h"
#include "file_util.h"

namespace splitc {

struct NpyHeader {
  const DType* dtype = nullptr;
  Shape shape;
};

// Parses the dictionary in a .npy header: {'descr': '<f4', ...}.
// Fails (kBadInput) that names `path`.
NpyHeader ParseNpyDictionary(std::string_view text, const std::string& path);

class NpyReader {
 public:
  // Fails (kBadInput) unless the file is well-formed and exactly as long
  // as its header says.
  explicit NpyReader(const std::string& path);

  const DType& dtype() const { return *header_.dtype; }
  const Shape& shape() const { return header_.shape; }
  const std::string& path() const { return path_; }

  // Reads `size` bytes, `offset` bytes into the data.
  void Read(void* data, size_t size, uint64_t offset) const;

 private:
  std::string path_;
  OpenedFile file_;
  NpyHeader header_;
  uint64_t data_offset_ = 0;
};

// Writes to a temporary name next to the final one; the final name appears only
// with Commit, and then complete. A failure before that removes the temporary one.
class NpyWriter {
 public:
  NpyWriter(const std::string& folder, const std::string& name, const DType& dtype,
            const Shape& shape);

  void Append(const void* data, size_t size);
  void Commit();

 private:
  std::string path_;
  std::string temporary_;
  UniqueFd fd_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_NPY_H_
