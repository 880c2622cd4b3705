// SPDX-License-Identifier: Apache-2.0
//
// A frame's answer, put together from its pieces.

#include "answer.h"

#include <algorithm>

namespace splitc {

uint32_t AnswerChunks(uint64_t bytes, size_t payload_bytes) {
  // An answer of no bytes is one too: a packet says that the results are where they are wanted.
  const auto chunks = static_cast<uint32_t>((bytes + payload_bytes - 1) / payload_bytes);
  return std::max<uint32_t>(chunks, 1);
}

void AnswerPieces::Start(uint64_t bytes, size_t payload_bytes) {
  bytes_.resize(bytes);
  has_.assign(AnswerChunks(bytes, payload_bytes), false);
  payload_bytes_ = payload_bytes;
  came_ = 0;
}

AnswerPieces::Added AnswerPieces::Add(uint32_t chunk, uint32_t chunks, const uint8_t* data,
                                      size_t size) {
  if (chunks != has_.size() || chunk >= chunks) return Added::kMalformed;
  const size_t start = chunk * payload_bytes_;
  if (size != std::min(payload_bytes_, bytes_.size() - start)) return Added::kMalformed;
  if (has_[chunk]) return Added::kDuplicate;
  std::copy_n(data, size, bytes_.begin() + static_cast<std::ptrdiff_t>(start));
  has_[chunk] = true;
  ++came_;
  return Added::kNew;
}

std::vector<uint8_t> AnswerPieces::Missing() const {
  std::vector<uint8_t> bitmap((has_.size() + 7) / 8);
  for (size_t i = 0; i < has_.size(); ++i) {
    if (!has_[i]) bitmap[i / 8] = static_cast<uint8_t>(bitmap[i / 8] | 1u << (i % 8));
  }
  return bitmap;
}

}  // namespace splitc
