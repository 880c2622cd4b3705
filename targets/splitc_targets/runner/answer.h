// SPDX-License-Identifier: Apache-2.0
//
// A frame's answer, put together from its pieces.

#ifndef SPLITC_RUNNER_ANSWER_H_
#define SPLITC_RUNNER_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace splitc {

// How many pieces hold so many bytes.
uint32_t AnswerChunks(uint64_t bytes, size_t payload_bytes);

class AnswerPieces {
 public:
  enum class Added { kNew, kDuplicate, kMalformed };

  // Forgets what came.
  void Start(uint64_t bytes, size_t payload_bytes);

  Added Add(uint32_t chunk, uint32_t chunks, const uint8_t* data, size_t size);

  bool empty() const { return came_ == 0; }
  bool complete() const { return came_ == has_.size(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

  // A bit for each piece that is missing, lowest first.
  std::vector<uint8_t> Missing() const;

 private:
  std::vector<uint8_t> bytes_;
  std::vector<bool> has_;
  size_t payload_bytes_ = 1;
  size_t came_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_ANSWER_H_
