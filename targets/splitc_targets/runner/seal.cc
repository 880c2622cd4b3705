// SPDX-License-Identifier: Apache-2.0
//
// Nonces, and the cipher of zig's standard library (aead.zig).

#include "seal.h"

#include <array>
#include <cstring>

extern "C" {
void splitc_seal(uint8_t* data, size_t size, uint8_t* tag, const uint8_t* known,
                 size_t known_size, const uint8_t* nonce, const uint8_t* key);
int splitc_open(uint8_t* data, size_t size, const uint8_t* tag, const uint8_t* known,
                size_t known_size, const uint8_t* nonce, const uint8_t* key);
}

namespace splitc {
namespace {

// What makes a packet of one direction of a session unlike every other.
std::array<uint8_t, 12> NonceOf(const Header& header) {
  std::array<uint8_t, 12> nonce{};
  nonce[0] = static_cast<uint8_t>(header.kind);
  std::memcpy(&nonce[2], &header.route, 2);
  std::memcpy(&nonce[4], &header.frame, 4);
  std::memcpy(&nonce[8], &header.chunk, 2);
  std::memcpy(&nonce[10], &header.extra, 2);
  return nonce;
}

}  // namespace

size_t SealPacket(const Key& key, const Header& header, uint8_t* packet, size_t size) {
  splitc_seal(packet + kHeaderBytes, size - kHeaderBytes, packet + size, packet, kHeaderBytes,
              NonceOf(header).data(), key.data());
  return size + kTagBytes;
}

size_t OpenPacket(const Key& key, const Header& header, uint8_t* packet, size_t size) {
  if (size < kHeaderBytes + kTagBytes) return 0;
  const size_t opened = size - kTagBytes;
  const int good = splitc_open(packet + kHeaderBytes, opened - kHeaderBytes, packet + opened,
                               packet, kHeaderBytes, NonceOf(header).data(), key.data());
  return good != 0 ? opened : 0;
}

}  // namespace splitc
