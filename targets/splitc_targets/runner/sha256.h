// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 (FIPS 180-4), incremental. Uses the CPU's SHA instructions where it
// has them: hashing a large model must not dominate the start-up time.

#ifndef SPLITC_RUNNER_SHA256_H_
#define SPLITC_RUNNER_SHA256_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace splitc {

using Sha256Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  void Update(const void* data, size_t size);
  // Ends the hash; the object must not be used afterwards.
  Sha256Digest Finish();

 private:
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> block_{};
  size_t used_ = 0;  // bytes waiting in block_
  uint64_t total_ = 0;
};

// Adds `count` 64-byte blocks to `state`. Only the fastest one that works here
// is used; they are visible so that tests can compare them.
using Sha256Blocks = void (*)(uint32_t* state, const uint8_t* data, size_t count);
void Sha256BlocksPortable(uint32_t* state, const uint8_t* data, size_t count);
Sha256Blocks FastestSha256Blocks();

}  // namespace splitc

#endif  // SPLITC_RUNNER_SHA256_H_
