// SPDX-License-Identifier: Apache-2.0
//
// HMAC-SHA256 (RFC 2104), HKDF-SHA256 (RFC 5869), and comparing without telling where two
// things differ.

#ifndef SPLITC_RUNNER_HMAC_H_
#define SPLITC_RUNNER_HMAC_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sha256.h"

namespace splitc {

using Key = Sha256Digest;

Sha256Digest Hmac(const void* key, size_t key_bytes, const void* data, size_t size);

// 32 bytes of HKDF: extracted with the salt, expanded with the info.
Key DeriveKey(const Key& secret, const void* salt, size_t salt_bytes, std::string_view info);

// Takes as long whatever the bytes are.
bool SameBytes(const void* a, const void* b, size_t size);

}  // namespace splitc

#endif  // SPLITC_RUNNER_HMAC_H_
