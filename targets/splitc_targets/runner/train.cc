// SPDX-License-Identifier: Apache-2.0
//
// Dovrolis, Ramanathan, Moore, "Packet-Dispersion Techniques and a Capacity-Estimation
// Methodology", IEEE/ACM Transactions on Networking 12(6), 2004.

#include "train.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace splitc {
std::optional<double> TrainBandwidth(const std::vector<double>& arrivals_s, size_t packet_bytes) {
  std::vector<size_t> known;
  for (size_t i = 0; i < arrivals_s.size(); ++i) {
    if (!std::isnan(arrivals_s[i])) known.push_back(i);
  }
  if (known.empty()) return std::nullopt;
  // The first quarter is left out, which a bucket of tokens lets through at once; and from one
  // packet that was the first read of several at once to the last such.
  const double early = arrivals_s[known[known.size() / 4]];
  size_t first = 0;
  while (first < known.size() && !(arrivals_s[known[first]] > early)) ++first;
  if (first == known.size()) return std::nullopt;
  size_t last = 0;
  while (arrivals_s[known[last]] != arrivals_s[known.back()]) ++last;
  double took_s = 0;
  size_t count = 0;
  for (size_t i = known[first]; i < known[last]; ++i) {
    const double apart_s = arrivals_s[i + 1] - arrivals_s[i];
    if (std::isnan(apart_s)) continue;
    took_s += apart_s;
    ++count;
  }
  if (!(took_s > 0)) return std::nullopt;
  return static_cast<double>(count * packet_bytes * 8) / took_s;
}

void Train::Begin(int64_t give_up_ns) {
  on_its_way_ = true;
  ++number_;
  next_ = came_ = 0;
  give_up_ns_ = give_up_ns;
  for (auto& clock : clock_ns_) clock.reset();
}

bool Train::Add(uint32_t train, uint16_t probe, const uint8_t* payload, size_t size,
                int64_t give_up_ns) {
  if (!on_its_way_ || train != number_ || probe >= next_ || size < kEchoBytes) return false;
  if (clock_ns_[probe]) return false;
  uint64_t clock;
  std::memcpy(&clock, payload, sizeof clock);
  clock_ns_[probe] = clock;
  give_up_ns_ = give_up_ns;
  ++came_;
  return true;
}

std::optional<double> Train::End(size_t packet_bytes) {
  on_its_way_ = false;
  std::vector<double> arrivals_s;
  std::optional<uint64_t> first;
  double apart_s = kShortestSeconds;
  for (const auto& clock : clock_ns_) {
    if (clock && !first) first = clock;
    const auto after_ns = clock ? static_cast<int64_t>(*clock - *first) : 0;
    arrivals_s.push_back(clock ? static_cast<double>(after_ns) * 1e-9 : std::nan(""));
    apart_s = std::max(apart_s, static_cast<double>(after_ns) * 1e-9);
  }
  const std::optional<double> bps = TrainBandwidth(arrivals_s, packet_bytes);
  if (bps || !complete()) return bps;
  return static_cast<double>((kProbes - 1) * packet_bytes * 8) / apart_s;
}

}  // namespace splitc
