// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic of GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, and the code's matrix: L. Rizzo,
// "Effective Erasure Codes for Reliable Computer Communication Protocols", CCR 27(2), 1997.

#include "parity.h"

#include <utility>

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

void AddProduct(uint8_t* parity, const uint8_t* data, size_t size, uint8_t factor) {
  uint8_t table[256];
  for (uint32_t i = 0; i < 256; ++i) {
    table[i] = kField.Product(static_cast<uint8_t>(i), factor);
  }
  for (size_t i = 0; i < size; ++i) parity[i] = static_cast<uint8_t>(parity[i] ^ table[data[i]]);
}

}  // namespace splitc
