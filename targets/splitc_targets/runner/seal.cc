// SPDX-License-Identifier: Apache-2.0
//
// Nonces, and the cipher of zig's standard library (aead.zig).

#include "seal.h"

#include <array>
#include <cstring>

#include "cpu.h"

extern "C" {
using SealFunction = void(uint8_t* data, size_t size, uint8_t* tag, const uint8_t* known,
                          size_t known_size, const uint8_t* nonce, const uint8_t* key);
using OpenFunction = int(uint8_t* data, size_t size, const uint8_t* tag, const uint8_t* known,
                         size_t known_size, const uint8_t* nonce, const uint8_t* key);
SealFunction splitc_seal;
OpenFunction splitc_open;
#if defined(__x86_64__)
SealFunction splitc_seal_avx2;
OpenFunction splitc_open_avx2;
#endif
}

namespace splitc {
namespace {

struct Cipher {
  SealFunction* seal;
  OpenFunction* open;
};

const Cipher& FastestCipher() {
  static const Cipher chosen = [] {
#if defined(__x86_64__)
    if (IsX86V3()) return Cipher{splitc_seal_avx2, splitc_open_avx2};
#endif
    return Cipher{splitc_seal, splitc_open};
  }();
  return chosen;
}

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
  FastestCipher().seal(packet + kHeaderBytes, size - kHeaderBytes, packet + size, packet,
                       kHeaderBytes, NonceOf(header).data(), key.data());
  return size + kTagBytes;
}

size_t OpenPacket(const Key& key, const Header& header, uint8_t* packet, size_t size) {
  if (size < kHeaderBytes + kTagBytes) return 0;
  const size_t opened = size - kTagBytes;
  const int good = FastestCipher().open(packet + kHeaderBytes, opened - kHeaderBytes,
                                        packet + opened, packet, kHeaderBytes,
                                        NonceOf(header).data(), key.data());
  return good != 0 ? opened : 0;
}

}  // namespace splitc
