// SPDX-License-Identifier: Apache-2.0
//
// Packets in a stream of bytes: each after its length. Pure.

#ifndef SPLITC_RUNNER_FRAMING_H_
#define SPLITC_RUNNER_FRAMING_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "wire.h"

namespace splitc {

class StreamReader {
 public:
  static constexpr size_t kLengthBytes = sizeof(uint32_t);

  // Takes packets of at most so many bytes.
  explicit StreamReader(size_t packet_bytes)
      : packet_bytes_(packet_bytes), bytes_(kPackets * (kLengthBytes + packet_bytes)) {}

  // Where the next bytes of the stream go, and how many may; none only while a packet waits.
  uint8_t* Room() { return bytes_.data() + end_; }
  size_t room() const { return bytes_.size() - end_; }
  void Came(size_t count) { end_ += count; }

  enum class Result { kPacket, kNotYet, kBroken };

  // Copies the next packet out. kBroken where a length is none of ours: what follows cannot
  // be read.
  Result Next(uint8_t* packet, size_t* size) {
    uint32_t length;
    if (end_ - start_ >= kLengthBytes) {
      std::memcpy(&length, bytes_.data() + start_, kLengthBytes);
      if (length < kHeaderBytes || length > packet_bytes_) return Result::kBroken;
      if (end_ - start_ - kLengthBytes >= length) {
        std::memcpy(packet, bytes_.data() + start_ + kLengthBytes, length);
        start_ += kLengthBytes + length;
        *size = length;
        return Result::kPacket;
      }
    }
    std::memmove(bytes_.data(), bytes_.data() + start_, end_ - start_);
    end_ -= start_;
    start_ = 0;
    return Result::kNotYet;
  }

  void Clear() { start_ = end_ = 0; }

 private:
  static constexpr size_t kPackets = 16;
  size_t packet_bytes_;
  std::vector<uint8_t> bytes_;
  size_t start_ = 0;
  size_t end_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_FRAMING_H_
