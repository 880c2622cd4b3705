// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic of GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, and the code's matrix: L. Rizzo,
// "Effective Erasure Codes for Reliable Computer Communication Protocols", CCR 27(2), 1997.

#include "parity.h"

#include <algorithm>
#include <cstring>

namespace splitc {
namespace {

struct Field {
  constexpr Field() {
    uint32_t x = 1;
    for (uint32_t i = 0; i < 255; ++i, x = (x << 1) ^ ((x & 0x80) != 0 ? 0x11du : 0u)) {
      exp[i] = exp[i + 255] = static_cast<uint8_t>(x);
      log[x] = static_cast<uint8_t>(i);
    }
  }
  constexpr uint8_t Product(uint8_t a, uint8_t b) const {
    return a == 0 || b == 0 ? uint8_t{0} : exp[log[a] + log[b]];
  }
  constexpr uint8_t Inverse(uint8_t a) const { return exp[255 - log[a]]; }

  uint8_t exp[510]{};
  uint8_t log[256]{};
};

constexpr Field kField;

// Point i of the Vandermonde matrix: 0 first, then the powers of the generator.
uint8_t Point(uint32_t i) { return i == 0 ? uint8_t{0} : kField.exp[(i - 1) % 255]; }

// Bytes of a block that are worked on at a time: they stay in registers and first cache.
constexpr size_t kPiece = 256;

// Each byte times the field's x.
void Double(const uint64_t* from, uint64_t* to, size_t words) {
  constexpr uint64_t kHigh = 0x8080808080808080u;
  for (size_t i = 0; i < words; ++i) {
    const uint64_t carries = (from[i] & kHigh) >> 7;
    to[i] = ((from[i] & ~kHigh) << 1) ^ carries ^ carries << 2 ^ carries << 3 ^ carries << 4;
  }
}

}  // namespace

ParityGroups::ParityGroups(uint32_t chunks, uint32_t percent)
    : groups((chunks + kMaxGroup - 1) / kMaxGroup),
      parity_chunks(0),
      chunks_(chunks),
      percent_(percent) {
  for (uint32_t group = 0; group < groups; ++group) parity_chunks += ParityOf(group);
}

// Row r of V · inverse(top of V) is, at column c, the value at point r of the polynomial that
// is 1 at point c and 0 at the other data points (Lagrange's): the matrix without inverting.
std::vector<uint8_t> ParityMatrix(uint32_t data, uint32_t parity) {
  std::vector<uint8_t> scale(data, 1);
  for (uint32_t c = 0; c < data; ++c) {
    for (uint32_t other = 0; other < data; ++other) {
      if (other == c) continue;
      scale[c] = kField.Product(scale[c], static_cast<uint8_t>(Point(c) ^ Point(other)));
    }
    scale[c] = kField.Inverse(scale[c]);
  }
  std::vector<uint8_t> matrix(size_t{parity} * data);
  for (uint32_t r = 0; r < parity; ++r) {
    const uint8_t at = Point(data + r);
    uint8_t all = 1;
    for (uint32_t c = 0; c < data; ++c) {
      all = kField.Product(all, static_cast<uint8_t>(at ^ Point(c)));
    }
    for (uint32_t c = 0; c < data; ++c) {
      const uint8_t rest =
          kField.Product(all, kField.Inverse(static_cast<uint8_t>(at ^ Point(c))));
      matrix[size_t{r} * data + c] = kField.Product(rest, scale[c]);
    }
  }
  return matrix;
}

// The data times 1, 2, 4 ... 128, once for all blocks: a product is the sum of some of these.
// Whole words of it, which the compiler makes vectors of.
void AddProducts(uint8_t* blocks, size_t stride, uint32_t count, const uint8_t* data,
                 size_t size, const uint8_t* factors, size_t factor_stride) {
  uint64_t powers[8][kPiece / 8];
  for (size_t at = 0; at < size; at += kPiece) {
    const size_t bytes = std::min(kPiece, size - at);
    powers[0][(bytes - 1) / 8] = 0;
    std::memcpy(powers[0], data + at, bytes);
    const size_t words = (bytes + 7) / 8;
    for (int i = 1; i < 8; ++i) Double(powers[i - 1], powers[i], words);
    for (uint32_t row = 0; row < count; ++row) {
      uint64_t sum[kPiece / 8];
      uint8_t* block = blocks + row * stride + at;
      std::memcpy(sum, block, bytes);
      for (int i = 0; i < 8; ++i) {
        if ((factors[row * factor_stride] >> i & 1) == 0) continue;
        for (size_t word = 0; word < words; ++word) sum[word] ^= powers[i][word];
      }
      std::memcpy(block, sum, bytes);
    }
  }
}

}  // namespace splitc
