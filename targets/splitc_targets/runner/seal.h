// SPDX-License-Identifier: Apache-2.0
//
// Packets sealed with ChaCha20-Poly1305 (RFC 8439), in place.

#ifndef SPLITC_RUNNER_SEAL_H_
#define SPLITC_RUNNER_SEAL_H_

#include <cstddef>
#include <cstdint>

#include "hmac.h"
#include "wire.h"

namespace splitc {

// Encrypts what follows the header and appends the tag, for which there must be room.
// Returns the packet's new size.
size_t SealPacket(const Key& key, const Header& header, uint8_t* packet, size_t size);

// The reverse. Returns the size without the tag, or 0 where the packet is not the key's.
size_t OpenPacket(const Key& key, const Header& header, uint8_t* packet, size_t size);

}  // namespace splitc

#endif  // SPLITC_RUNNER_SEAL_H_
