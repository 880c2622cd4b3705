// SPDX-License-Identifier: Apache-2.0
//
// The parity packets of a boundary, a group at a time.

#ifndef SPLITC_RUNNER_PARITY_WRITER_H_
#define SPLITC_RUNNER_PARITY_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parity.h"
#include "wire.h"

namespace splitc {

class ParityWriter {
 public:
  ParityWriter(uint32_t chunks, uint32_t percent, size_t payload_bytes);

  uint32_t chunks() const { return groups_.parity_chunks; }

  // Frames' tensors are no longer in the order that they were.
  void Forget() { frame_ = UINT64_MAX; }

  // Writes one parity block of a frame's tensors, `payload_bytes` of them. Blocks of one frame
  // are cheapest in their order; `frame` tells frames apart.
  void Write(const Boundary& boundary, const uint8_t* tensors, uint64_t frame, uint32_t block,
             uint8_t* payload);

 private:
  void Fill(const Boundary& boundary, const uint8_t* tensors, uint32_t group);

  ParityGroups groups_;
  size_t payload_bytes_;
  // What is in blocks_: a group of a frame.
  uint64_t frame_ = UINT64_MAX;
  uint32_t group_ = 0;
  std::vector<uint8_t> blocks_;
  std::vector<uint8_t> matrix_;
  uint32_t matrix_data_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_PARITY_WRITER_H_
