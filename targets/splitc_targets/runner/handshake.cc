// SPDX-License-Identifier: Apache-2.0
//
// Packets of the handshake.

#include "handshake.h"

#include <algorithm>
#include <cstring>

namespace splitc {
namespace {

constexpr size_t kMacBytes = 32;
constexpr size_t kChallengeBytes = 16 + 32;
constexpr size_t kWelcomeBytes = 16 + 16 + 8 + 2 + 2 + kMacBytes;
constexpr size_t kRefuseBytes = 1 + 16;

class Writer {
 public:
  explicit Writer(uint8_t* to) : to_(to) {}
  template <typename T>
  void Put(const T& value) {
    std::memcpy(to_, &value, sizeof value);
    to_ += sizeof value;
  }

 private:
  uint8_t* to_;
};

class Reader {
 public:
  explicit Reader(const uint8_t* from) : from_(from) {}
  template <typename T>
  T Take() {
    T value;
    std::memcpy(&value, from_, sizeof value);
    from_ += sizeof value;
    return value;
  }

 private:
  const uint8_t* from_;
};

Sha256Digest Mac(const Key& key, const char* info, const uint8_t* packet, size_t size) {
  const Key derived = DeriveKey(key, nullptr, 0, info);
  return Hmac(derived.data(), derived.size(), packet, size);
}

}  // namespace

std::array<uint8_t, kHelloPacketBytes> WriteHello(const Hello& hello, uint64_t split,
                                                  const std::optional<Key>& key) {
  std::array<uint8_t, kHelloPacketBytes> packet{};
  Header header;
  header.kind = PacketKind::kHello;
  header.split = split;
  WriteHeader(header, packet.data());
  Writer writer(packet.data() + kHeaderBytes);
  writer.Put(hello.nonce);
  writer.Put(hello.cookie);
  writer.Put(hello.payload_bytes);
  writer.Put(hello.transport);
  writer.Put(hello.parity_percent);
  writer.Put(hello.deadline_us);
  writer.Put(hello.grace_us);
  writer.Put(hello.flags);
  if (key) {
    const size_t before = packet.size() - kMacBytes;
    const Sha256Digest mac = Mac(*key, "splitc wire 1 hello", packet.data(), before);
    std::copy(mac.begin(), mac.end(), packet.begin() + before);
  }
  return packet;
}

std::optional<std::array<uint8_t, 32>> ReadChallenge(const uint8_t* packet, size_t size,
                                                     const Nonce& nonce) {
  if (size != kHeaderBytes + kChallengeBytes) return std::nullopt;
  Reader reader(packet + kHeaderBytes);
  if (reader.Take<Nonce>() != nonce) return std::nullopt;
  return reader.Take<std::array<uint8_t, 32>>();
}

std::optional<Refuse> ReadRefuse(const uint8_t* packet, size_t size) {
  // The bare code answers what is too short for more.
  const bool bare = size == kHeaderBytes + 1;
  if ((size < kHeaderBytes + kRefuseBytes && !bare) || size > kHelloPacketBytes) {
    return std::nullopt;
  }
  Reader reader(packet + kHeaderBytes);
  const uint8_t code = reader.Take<uint8_t>();
  if (code < 1 || code > static_cast<uint8_t>(Refusal::kStopping)) return std::nullopt;
  Refuse refuse;
  refuse.code = static_cast<Refusal>(code);
  if (bare) return refuse;
  refuse.nonce = reader.Take<Nonce>();
  refuse.text.assign(packet + kHeaderBytes + kRefuseBytes, packet + size);
  return refuse;
}

std::optional<ReadWelcomeResult> ReadWelcome(const uint8_t* packet, size_t size,
                                             const Nonce& nonce, const std::optional<Key>& key) {
  Header header;
  if (size != kHeaderBytes + kWelcomeBytes || !ReadHeader(packet, size, &header)) {
    return std::nullopt;
  }
  Reader reader(packet + kHeaderBytes);
  if (reader.Take<Nonce>() != nonce || header.session == 0) return std::nullopt;
  ReadWelcomeResult result;
  result.welcome.session = header.session;
  result.welcome.server_nonce = reader.Take<Nonce>();
  result.welcome.order_seed = reader.Take<uint64_t>();
  result.welcome.frames_in_flight = reader.Take<uint16_t>();
  const size_t before = size - kMacBytes;
  const Sha256Digest mac = key ? Mac(*key, "splitc wire 1 welcome", packet, before)
                               : Sha256Digest{};
  result.authentic = SameBytes(mac.data(), packet + before, mac.size());
  return result;
}

SessionKeys DeriveSessionKeys(const Key& key, const Nonce& client, const Nonce& server) {
  uint8_t salt[32];
  std::copy(client.begin(), client.end(), salt);
  std::copy(server.begin(), server.end(), salt + client.size());
  return {DeriveKey(key, salt, sizeof salt, "splitc wire 1 device"),
          DeriveKey(key, salt, sizeof salt, "splitc wire 1 server")};
}

}  // namespace splitc
