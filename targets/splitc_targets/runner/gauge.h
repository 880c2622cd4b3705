// SPDX-License-Identifier: Apache-2.0
//
// What a device measures as it goes: splitc.policy.Gauge in C++. Pure: no clock.

#ifndef SPLITC_RUNNER_GAUGE_H_
#define SPLITC_RUNNER_GAUGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "policy.h"

namespace splitc {

// What a server's REPORT says of a frame.
struct FrameReport {
  double spread_s = 0;        // from the first of its packets that came to the last
  uint64_t spread_bytes = 0;  // on the link, of those behind the first
  double wait_s = 0;
  double tail_s = 0;
  uint32_t came = 0;  // chunks
  uint32_t chunks = 0;
};

// The last few of what was measured.
template <typename T, size_t kMost>
class Recent {
 public:
  void Add(const T& value) {
    values_[added_ % kMost] = value;
    ++added_;
  }
  size_t size() const { return added_ < kMost ? added_ : kMost; }
  bool empty() const { return added_ == 0; }
  const T* begin() const { return values_; }
  const T* end() const { return values_ + size(); }

 private:
  T values_[kMost]{};
  size_t added_ = 0;
};

class Gauge {
 public:
  // Packets of a frame from which on the time between them tells the bandwidth.
  static constexpr uint32_t kEnoughPackets = 8;
  // How many of the last bandwidths count.
  static constexpr size_t kBandwidths = 3;

  // `loses` is whether packets that are lost stay lost, so that what came tells the loss.
  Gauge(const std::vector<RouteOption>& options, bool loses)
      : options_(options), loses_(loses) {}

  // What the device's parts of a route took.
  void Head(size_t route, double seconds);
  // What the server says of a frame.
  void Report(size_t route, const FrameReport& report, double now);
  // How long it was from a frame's last packet to its answer's last one.
  void Answered(const FrameReport& report, double link_tail_s);
  // A bandwidth that was measured, and how many times it counts.
  void Bandwidth(double bps, double now, int weight = 1);

  // Whether nothing told the bandwidth for a while.
  bool WantsProbe(double now) const;
  LinkState state() const;

 private:
  struct Came {
    uint32_t came, chunks;
  };

  std::vector<RouteOption> options_;
  bool loses_;
  // Of three bandwidths the middle one counts: the second frame over a slower link is believed,
  // one that was held up is not.
  Recent<double, kBandwidths> bandwidths_;
  Recent<double, 5> heads_, tails_, waits_;
  Recent<double, 16> trips_;
  Recent<Came, 32> chunks_;
  std::optional<double> measured_s_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_GAUGE_H_
