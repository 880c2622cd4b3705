// SPDX-License-Identifier: Apache-2.0
//
// The flags of --send, which are those of `splitc send`.

#ifndef SPLITC_RUNNER_SEND_OPTIONS_H_
#define SPLITC_RUNNER_SEND_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "handshake.h"

namespace splitc {

enum class WhenSilent { kError, kLast, kWhole };

struct SendOptions {
  std::string to;  // "HOST:PORT"; empty: nothing is sent
  Transport transport = Transport::kUdp;
  uint32_t parity_percent = 25;
  double deadline_s = 0.1;
  double grace_s = 0.005;
  double silent_s = 1;
  uint32_t mtu = 1500;
  double bandwidth_bps = 0;  // 0: no limit
  double frames_per_s = 0;   // 0: no limit
  uint32_t in_flight = 2;
  WhenSilent when_silent = WhenSilent::kError;
  std::string policy;              // as it was written; empty for the usual one
  std::optional<double> within_s;  // what a frame may take
  std::string whole;  // a part's folder
  std::string key;    // a file
};

extern const char kSendUsage[];

// Of any time that is given.
inline constexpr double kLongestSeconds = 3600;

// Whether it is one of those flags. Each takes a value.
bool IsSendOption(const std::string& name);
// Fails (kUsage) for a value that makes no sense.
void TakeSendOption(const std::string& name, const std::string& value, SendOptions* options);

// Seconds of a text like 5ms or 0.2s. Fails (kUsage).
double ParseTime(const std::string& option, const std::string& text);

// Fails (kUsage) where flags do not go together.
void CheckSendOptions(const SendOptions& options);

// The key in a file: 64 hexadecimal digits and a line feed. None for no file. Fails (kUsage).
std::optional<Key> ReadKey(const std::string& path);

}  // namespace splitc

#endif  // SPLITC_RUNNER_SEND_OPTIONS_H_
