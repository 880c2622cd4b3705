// SPDX-License-Identifier: Apache-2.0
//
// The element types the runner knows.

#include "dtype.h"

#include <dlpack/dlpack.h>

#include "text.h"

namespace splitc {
namespace {

constexpr DType kDTypes[] = {
    {"float16", 'f', 2, kDLFloat}, {"float32", 'f', 4, kDLFloat}, {"float64", 'f', 8, kDLFloat},
    {"int8", 'i', 1, kDLInt},      {"int16", 'i', 2, kDLInt},     {"int32", 'i', 4, kDLInt},
    {"int64", 'i', 8, kDLInt},     {"uint8", 'u', 1, kDLUInt},    {"uint16", 'u', 2, kDLUInt},
    {"uint32", 'u', 4, kDLUInt},   {"uint64", 'u', 8, kDLUInt},   {"bool", 'b', 1, kDLBool},
};

}  // namespace

const DType* FindDType(std::string_view name) {
  for (const DType& t : kDTypes) {
    if (name == t.name) return &t;
  }
  return nullptr;
}

const DType* FindNpyDType(char kind, unsigned size) {
  for (const DType& t : kDTypes) {
    if (kind == t.npy_kind && size == t.size) return &t;
  }
  return nullptr;
}

bool TensorBytes(const DType& dtype, const Shape& shape, uint64_t* bytes) {
  // Zero dimensions are multiplied in last, so that they cannot hide an
  // overflow of the others, which would surprise code that computes strides.
  int64_t product = dtype.size;
  bool empty = false;
  for (int64_t dim : shape) {
    if (dim < 0) return false;
    if (dim == 0) empty = true;
    if (dim > 0 && __builtin_mul_overflow(product, dim, &product)) return false;
  }
  *bytes = empty ? 0 : static_cast<uint64_t>(product);
  return true;
}

std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ',';
    text += Decimal(shape[i]);
  }
  return text + "]";
}

}  // namespace splitc
