// SPDX-License-Identifier: Apache-2.0
//
// SHA-256: the portable block function, and the bookkeeping around it.
// The hardware block functions are in sha256_hw.cc.

#include "sha256.h"

#include <algorithm>
#include <cstring>

#include "sha256_hw.h"

namespace splitc {
namespace {

inline uint32_t RotateRight(uint32_t x, unsigned n) { return (x >> n) | (x << (32 - n)); }

inline uint32_t LoadBigEndian(const uint8_t* p) {
  uint32_t x;
  std::memcpy(&x, p, sizeof x);
  return __builtin_bswap32(x);
}

}  // namespace

void Sha256BlocksPortable(uint32_t* state, const uint8_t* data, size_t count) {
  for (; count > 0; --count, data += 64) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i) w[i] = LoadBigEndian(data + 4 * i);
    for (int i = 16; i < 64; ++i) {
      uint32_t a = w[i - 15];
      uint32_t b = w[i - 2];
      uint32_t s0 = RotateRight(a, 7) ^ RotateRight(a, 18) ^ (a >> 3);
      uint32_t s1 = RotateRight(b, 17) ^ RotateRight(b, 19) ^ (b >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; ++i) {
      uint32_t s1 = RotateRight(e, 6) ^ RotateRight(e, 11) ^ RotateRight(e, 25);
      uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + kSha256Constants[i] + w[i];
      uint32_t s0 = RotateRight(a, 2) ^ RotateRight(a, 13) ^ RotateRight(a, 22);
      uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1;
      d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

Sha256Blocks FastestSha256Blocks() {
  static const Sha256Blocks chosen = [] {
    Sha256Blocks hardware = HardwareSha256Blocks();
    return hardware != nullptr ? hardware : &Sha256BlocksPortable;
  }();
  return chosen;
}

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::Update(const void* data, size_t size) {
  const uint8_t* p = static_cast<const uint8_t*>(data);
  total_ += size;
  if (used_ > 0) {
    size_t n = std::min(size, block_.size() - used_);
    std::copy_n(p, n, block_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += n, p += n, size -= n;
    if (used_ < block_.size()) return;
    FastestSha256Blocks()(state_.data(), block_.data(), 1);
    used_ = 0;
  }
  size_t blocks = size / block_.size();
  if (blocks > 0) FastestSha256Blocks()(state_.data(), p, blocks);
  p += blocks * block_.size();
  used_ = size % block_.size();
  std::copy_n(p, used_, block_.begin());
}

Sha256Digest Sha256::Finish() {
  const uint64_t bits = total_ * 8;
  const uint8_t one = 0x80;
  const uint8_t zero = 0;
  Update(&one, 1);
  while (used_ != 56) Update(&zero, 1);
  const uint64_t length = __builtin_bswap64(bits);
  Update(&length, sizeof length);
  Sha256Digest digest;
  for (size_t i = 0; i < state_.size(); ++i) {
    const uint32_t word = __builtin_bswap32(state_[i]);
    std::memcpy(digest.data() + 4 * i, &word, sizeof word);
  }
  return digest;
}

}  // namespace splitc
