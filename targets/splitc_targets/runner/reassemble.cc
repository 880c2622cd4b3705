// SPDX-License-Identifier: Apache-2.0
//
// A boundary put together from the chunks that came, to the byte as splitc.wire does it.

#include <algorithm>
#include <cstring>

#include "half.h"
#include "wire.h"

namespace splitc {
namespace {

template <size_t kWidth>
void Scatter(const uint8_t* payload, const uint32_t* order, size_t count, uint8_t* tensor) {
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(tensor + order[i] * kWidth, payload + i * kWidth, kWidth);
  }
}

void ScatterAny(const uint8_t* payload, const uint32_t* order, size_t count, uint32_t width,
                uint8_t* tensor) {
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(tensor + uint64_t{order[i]} * width, payload + i * width, width);
  }
}

// What stands for units that did not come.
void Fill(const std::string& pattern, const uint32_t* order, size_t count, uint32_t width,
          uint8_t* tensor) {
  for (size_t i = 0; i < count; ++i) {
    const uint64_t start = uint64_t{order[i]} * width;
    for (uint64_t at = start; at < start + width; ++at) {
      tensor[at] = pattern.empty() ? 0 : static_cast<uint8_t>(pattern[at % pattern.size()]);
    }
  }
}

template <typename T>
void Multiply(uint8_t* tensor, uint64_t bytes, T factor) {
  for (uint64_t at = 0; at < bytes; at += sizeof factor) {
    T value;
    std::memcpy(&value, tensor + at, sizeof value);
    value *= factor;
    std::memcpy(tensor + at, &value, sizeof value);
  }
}

void MultiplyHalves(uint8_t* tensor, uint64_t bytes, double factor) {
  const double rounded = HalfAsDouble(RoundToHalf(factor));
  for (uint64_t at = 0; at < bytes; at += sizeof(uint16_t)) {
    uint16_t value;
    std::memcpy(&value, tensor + at, sizeof value);
    value = RoundToHalf(HalfAsDouble(value) * rounded);
    std::memcpy(tensor + at, &value, sizeof value);
  }
}

void Scale(const DType& dtype, uint8_t* tensor, uint64_t bytes, double kept) {
  if (dtype.npy_kind != 'f' || kept == 1) return;
  if (dtype.size == 8) return Multiply(tensor, bytes, 1 / kept);
  if (dtype.size == 4) return Multiply(tensor, bytes, static_cast<float>(1 / kept));
  MultiplyHalves(tensor, bytes, 1 / kept);
}

}  // namespace

double Boundary::Unpack(const uint8_t* rows, size_t stride, const uint8_t* came,
                        double loss_rate, uint8_t* tensors) const {
  uint64_t elements_came = 0;
  uint64_t elements = 0;
  for (const Piece& piece : pieces_) {
    uint8_t* tensor = tensors + piece.offset;
    uint64_t units = 0;
    for (uint32_t i = 0; i < piece.chunks; ++i) {
      const Place place = PlaceOf(piece.first + i);
      const uint8_t* row = rows + (piece.first + i) * stride;
      const bool is_here = came[piece.first + i] != 0;
      if (is_here) units += place.count;
      ForUnits(place, [&](const uint32_t* order, uint32_t count, uint32_t before) {
        const uint8_t* from = row + size_t{before} * piece.width;
        if (!is_here) return Fill(piece.missing.fill, order, count, piece.width, tensor);
        switch (piece.width) {
          case 1: return Scatter<1>(from, order, count, tensor);
          case 2: return Scatter<2>(from, order, count, tensor);
          case 4: return Scatter<4>(from, order, count, tensor);
          case 8: return Scatter<8>(from, order, count, tensor);
          default: return ScatterAny(from, order, count, piece.width, tensor);
        }
      });
    }
    double kept = 1;
    if (piece.missing.scale == Missing::Scale::kRate) kept = 1 - loss_rate;
    if (piece.missing.scale == Missing::Scale::kRealised) {
      kept = static_cast<double>(units) / piece.count;
    }
    // Nothing that came is nothing to scale.
    if (units > 0) Scale(*piece.dtype, tensor, piece.bytes, kept);
    if (piece.dtype->npy_kind == 'b') {
      std::for_each(tensor, tensor + piece.bytes, [](uint8_t& value) { value = value != 0; });
    }
    elements_came += units * piece.missing.unit;
    elements += uint64_t{piece.count} * piece.missing.unit;
  }
  return static_cast<double>(elements_came) / static_cast<double>(elements);
}

}  // namespace splitc
