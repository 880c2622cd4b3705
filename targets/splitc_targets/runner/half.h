// SPDX-License-Identifier: Apache-2.0
//
// float16 where the compiler would call a library for it.

#ifndef SPLITC_RUNNER_HALF_H_
#define SPLITC_RUNNER_HALF_H_

#include <cstdint>
#include <cstring>

namespace splitc {

inline double HalfAsDouble(uint16_t half) {
  const uint64_t sign = uint64_t{half} >> 15 << 63;
  const int exponent = half >> 10 & 31;
  const uint64_t fraction = half & 1023;
  uint64_t bits = sign;
  if (exponent == 31) {
    bits |= uint64_t{2047} << 52 | fraction << 42;
  } else if (exponent > 0) {
    bits |= static_cast<uint64_t>(exponent - 15 + 1023) << 52 | fraction << 42;
  } else {
    const double small = static_cast<double>(fraction) * 0x1p-24;
    return sign != 0 ? -small : small;
  }
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// To the nearest, to even where two are as near.
inline uint16_t RoundToHalf(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = static_cast<uint32_t>(bits >> 63) << 15;
  const int exponent = static_cast<int>(bits >> 52 & 2047) - 1023;
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  if (exponent == 1024 && fraction != 0) {
    return static_cast<uint16_t>(sign | 0x7e00u | static_cast<uint32_t>(fraction >> 42));
  }
  if (exponent > 15) return static_cast<uint16_t>(sign | 0x7c00u);
  if (exponent < -25) return static_cast<uint16_t>(sign);
  // Normal numbers keep 10 bits of the fraction, small ones fewer.
  const int dropped = exponent >= -14 ? 42 : 42 + (-14 - exponent);
  const uint64_t whole = exponent >= -14 ? fraction : fraction | uint64_t{1} << 52;
  uint64_t kept = whole >> dropped;
  const uint64_t rest = whole & ((uint64_t{1} << dropped) - 1);
  const uint64_t half = uint64_t{1} << (dropped - 1);
  if (rest > half || (rest == half && (kept & 1) != 0)) ++kept;
  // A carry runs into the exponent, as it should, up to infinity.
  const uint32_t biased = exponent >= -14 ? static_cast<uint32_t>(exponent + 15) : 0;
  return static_cast<uint16_t>(sign | ((biased << 10) + static_cast<uint32_t>(kept)));
}

}  // namespace splitc

#endif  // SPLITC_RUNNER_HALF_H_
