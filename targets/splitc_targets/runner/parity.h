// SPDX-License-Identifier: Apache-2.0
//
// Parity packets: systematic Reed-Solomon blocks over GF(2^8), byte for byte those of zfec.

#ifndef SPLITC_RUNNER_PARITY_H_
#define SPLITC_RUNNER_PARITY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace splitc {

inline constexpr uint32_t kMaxGroup = 128;

// A frame's chunks in groups that are interleaved: group g has chunks g, g + G, g + 2G ...
struct ParityGroups {
  ParityGroups(uint32_t chunks, uint32_t percent);

  uint32_t groups;
  uint32_t parity_chunks;  // of the whole frame

  // Data chunks of a group, and its parity chunks.
  uint32_t DataOf(uint32_t group) const { return (chunks_ - group + groups - 1) / groups; }
  uint32_t ParityOf(uint32_t group) const { return (DataOf(group) * percent_ + 99) / 100; }

 private:
  uint32_t chunks_;
  uint32_t percent_;
};

// The rows that make `parity` blocks of `data` blocks [parity, data]: fec.c's systematic
// form of a Vandermonde matrix. data + parity may be 256 at most.
std::vector<uint8_t> ParityMatrix(uint32_t data, uint32_t parity);

// Adds to `count` parity blocks, `stride` bytes apart, what one data block gives to each: its
// product with a factor, these `factor_stride` apart.
void AddProducts(uint8_t* blocks, size_t stride, uint32_t count, const uint8_t* data,
                 size_t size, const uint8_t* factors, size_t factor_stride);

}  // namespace splitc

#endif  // SPLITC_RUNNER_PARITY_H_
