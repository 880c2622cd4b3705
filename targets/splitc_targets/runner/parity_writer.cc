// SPDX-License-Identifier: Apache-2.0
//
// The parity packets of a boundary, a group at a time.

#include "parity_writer.h"

#include <algorithm>

namespace splitc {

ParityWriter::ParityWriter(uint32_t chunks, uint32_t percent, size_t payload_bytes)
    : groups_(chunks, percent), payload_bytes_(payload_bytes) {}

void ParityWriter::Write(const Boundary& boundary, const uint8_t* tensors, uint64_t frame,
                         uint32_t block, uint8_t* payload) {
  uint32_t group = 0;
  for (; block >= groups_.ParityOf(group); ++group) block -= groups_.ParityOf(group);
  if (frame != frame_ || group != group_) {
    Fill(boundary, tensors, group);
    frame_ = frame;
    group_ = group;
  }
  std::copy_n(&blocks_[block * payload_bytes_], payload_bytes_, payload);
}

void ParityWriter::Fill(const Boundary& boundary, const uint8_t* tensors, uint32_t group) {
  const uint32_t data = groups_.DataOf(group);
  const uint32_t parity = groups_.ParityOf(group);
  if (data != matrix_data_) matrix_ = ParityMatrix(data, parity);
  matrix_data_ = data;
  blocks_.assign(parity * payload_bytes_, 0);
  std::vector<uint8_t> chunk(payload_bytes_);
  for (uint32_t i = 0; i < data; ++i) {
    const size_t size = boundary.Pack(tensors, group + i * groups_.groups, chunk.data());
    AddProducts(blocks_.data(), payload_bytes_, parity, chunk.data(), size, &matrix_[i], data);
  }
}

}  // namespace splitc
