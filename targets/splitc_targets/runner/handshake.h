// SPDX-License-Identifier: Apache-2.0
//
// How a session begins, the device's side (docs/wire.md). Pure: randomness is an argument.

#ifndef SPLITC_RUNNER_HANDSHAKE_H_
#define SPLITC_RUNNER_HANDSHAKE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "hmac.h"
#include "wire.h"

namespace splitc {

inline constexpr size_t kHelloBytes = 256;
// Of any packet of the handshake: what a server sends is never longer than HELLO.
inline constexpr size_t kHelloPacketBytes = kHeaderBytes + kHelloBytes;

using Nonce = std::array<uint8_t, 16>;

enum class Transport : uint8_t { kUdp, kResend, kParity, kTcp };

enum class Refusal : uint8_t {
  kVersion = 1,
  kBundle,
  kKey,
  kFull,
  kUnknownSession,
  kBad,
  kStopping,
};

// Of HELLO's flags: the device wants a REPORT of each frame.
inline constexpr uint32_t kWantsReports = 1;

// What a device asks for.
struct Hello {
  Nonce nonce{};
  std::array<uint8_t, 32> cookie{};
  uint16_t payload_bytes = 0;
  Transport transport = Transport::kUdp;
  uint8_t parity_percent = 0;
  uint32_t deadline_us = 0;
  uint32_t grace_us = 0;
  uint32_t flags = 0;
};

struct Welcome {
  uint64_t session = 0;
  Nonce server_nonce{};
  uint64_t order_seed = 0;
  uint16_t frames_in_flight = 0;
};

struct Refuse {
  Refusal code = Refusal::kBad;
  Nonce nonce{};
  std::string text;
};

// The whole packet. Without a key its MAC is zeros.
std::array<uint8_t, kHelloPacketBytes> WriteHello(const Hello& hello, uint64_t split,
                                                  const std::optional<Key>& key);

// A packet's payload of that kind, none where it is malformed or of another's nonce.
std::optional<std::array<uint8_t, 32>> ReadChallenge(const uint8_t* packet, size_t size,
                                                     const Nonce& nonce);
std::optional<Refuse> ReadRefuse(const uint8_t* packet, size_t size);

// WELCOME to that nonce; `authentic` is whether its MAC is the key's.
struct ReadWelcomeResult {
  Welcome welcome;
  bool authentic = false;
};
std::optional<ReadWelcomeResult> ReadWelcome(const uint8_t* packet, size_t size,
                                             const Nonce& nonce, const std::optional<Key>& key);

struct SessionKeys {
  Key to_server;
  Key to_device;
};
SessionKeys DeriveSessionKeys(const Key& key, const Nonce& client, const Nonce& server);

}  // namespace splitc

#endif  // SPLITC_RUNNER_HANDSHAKE_H_
