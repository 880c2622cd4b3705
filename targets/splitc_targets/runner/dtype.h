// SPDX-License-Identifier: Apache-2.0
//
// The element types the runner knows, with their names in the manifest, in
// .npy files and in DLPack; and the checked size of a tensor.

#ifndef SPLITC_RUNNER_DTYPE_H_
#define SPLITC_RUNNER_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace splitc {

using Shape = std::vector<int64_t>;

// Enough for any real model, and small enough to keep every header bounded.
constexpr size_t kMaxRank = 32;

struct DType {
  const char* name;   // as in the manifest: "float32"
  char npy_kind;      // as in .npy: "<f4" is kind 'f' and size 4
  uint8_t size;       // bytes per element
  uint8_t dlpack_code;
};

// Both return null for what is not known. Types are compared by address.
const DType* FindDType(std::string_view name);
const DType* FindNpyDType(char kind, unsigned size);

// Writes the tensor's size in bytes; false if it does not fit 63 bits or if a
// dimension is negative.
bool TensorBytes(const DType& dtype, const Shape& shape, uint64_t* bytes);

// "[1,3,224,224]", which is also how JSON writes it.
std::string ShapeText(const Shape& shape);

}  // namespace splitc

#endif  // SPLITC_RUNNER_DTYPE_H_
