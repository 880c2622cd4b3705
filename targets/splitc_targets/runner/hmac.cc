// SPDX-License-Identifier: Apache-2.0
//
// HMAC and HKDF on the SHA-256 that is here.

#include "hmac.h"

#include <algorithm>
#include <string>

namespace splitc {
namespace {

using Block = std::array<uint8_t, 64>;

Sha256Digest Hash(const Block& key, uint8_t pad, const void* data, size_t size) {
  Block block;
  for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<uint8_t>(pad ^ key[i]);
  Sha256 sha256;
  sha256.Update(block.data(), block.size());
  sha256.Update(data, size);
  return sha256.Finish();
}

}  // namespace

Sha256Digest Hmac(const void* key, size_t key_bytes, const void* data, size_t size) {
  Block block{};
  if (key_bytes > block.size()) {
    Sha256 sha256;
    sha256.Update(key, key_bytes);
    const Sha256Digest digest = sha256.Finish();
    std::copy(digest.begin(), digest.end(), block.begin());
  } else {
    std::copy_n(static_cast<const uint8_t*>(key), key_bytes, block.begin());
  }
  const Sha256Digest inner = Hash(block, 0x36, data, size);
  return Hash(block, 0x5c, inner.data(), inner.size());
}

Key DeriveKey(const Key& secret, const void* salt, size_t salt_bytes, std::string_view info) {
  const Key extracted = Hmac(salt, salt_bytes, secret.data(), secret.size());
  std::string once(info);
  once += '\x01';
  return Hmac(extracted.data(), extracted.size(), once.data(), once.size());
}

bool SameBytes(const void* a, const void* b, size_t size) {
  const volatile uint8_t* left = static_cast<const volatile uint8_t*>(a);
  const volatile uint8_t* right = static_cast<const volatile uint8_t*>(b);
  uint8_t differs = 0;
  for (size_t i = 0; i < size; ++i) differs = static_cast<uint8_t>(differs | (left[i] ^ right[i]));
  return differs == 0;
}

}  // namespace splitc
