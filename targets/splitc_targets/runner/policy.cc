// SPDX-License-Identifier: Apache-2.0
//
// Decisions. Sums are in the order of splitc.policy, and nothing is fused: the same doubles.

#include "policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "wire.h"

namespace splitc {
namespace {

// A route with more bytes that is left again within so many holds doubles the hold, up to so many
// times the least.
constexpr double kSoon = 4, kMost = 16;

// As it was predicted.
size_t Quickest(const std::vector<RouteOption>& options) {
  size_t quickest = 0;
  for (size_t i = 1; i < options.size(); ++i) {
    if (options[i].expected_s() < options[quickest].expected_s()) quickest = i;
  }
  return quickest;
}

}  // namespace

RouteOption OptionOf(const Remote& remote, size_t payload_bytes) {
  RouteOption option;
  option.name = remote.name;
  for (size_t i = 0; i < remote.crosses.size(); ++i) {
    const TensorSpec& spec = remote.crosses[i];
    const Boundary::Tensor tensor{spec.dtype, spec.bytes, remote.missing[i]};
    option.packets += Boundary::ChunksOf(tensor, payload_bytes);
    option.sent_bytes += spec.bytes;
  }
  option.sent_bytes += option.packets * kPacketOverhead;
  const Expected expected = remote.expected.value_or(Expected{});
  option.head_s = expected.head_ms / 1e3;
  option.tail_s = expected.tail_ms / 1e3;
  option.link_s = expected.link_ms / 1e3;
  option.agreement = expected.agreement;
  return option;
}

double LinkState::LatencyOf(const RouteOption& option) const {
#pragma STDC FP_CONTRACT OFF
  if (!bandwidth_bps) return option.expected_s();
  const double head_s = option.head_s * head_load;
  const double link_s = static_cast<double>(option.sent_bytes * 8) / *bandwidth_bps;
  const double tail_s = option.tail_s * tail_load;
  return head_s + link_s + rtt_s.value_or(0) + wait_s + tail_s;
}

// Fewer bytes are taken at once, more of them only where they are wanted for a while on end;
// and none within a while of the last change.
size_t Steady::Take(const std::vector<RouteOption>& options, size_t wanted, double now) {
#pragma STDC FP_CONTRACT OFF
  if (wanted == current_) {
    wanted_.reset();
    return current_;
  }
  if (wanted_ != wanted) {
    wanted_ = wanted;
    since_s_ = now;
  }
  const bool more = options[wanted].sent_bytes > options[current_].sent_bytes;
  const bool held = !more || now >= since_s_ + hold_s_;
  if (held && (!changed_s_ || now >= *changed_s_ + least_s_)) {
    if (has_risen_) {
      const bool soon = now < *changed_s_ + kSoon * hold_s_ && !more;
      hold_s_ = soon ? std::min(hold_s_ * 2, least_s_ * kMost) : least_s_;
    }
    current_ = wanted;
    changed_s_ = now;
    has_risen_ = more;
    wanted_.reset();
  }
  return current_;
}

MapChooser::MapChooser(std::vector<Point> points, double hold_s,
                       const std::vector<RouteOption>& options)
    : points_(std::move(points)), options_(options), steady_(Quickest(options), hold_s) {}

size_t MapChooser::Route(const LinkState& seen, double now) {
#pragma STDC FP_CONTRACT OFF
  if (!seen.bandwidth_bps) return steady_.current();
  // A device that is quicker than it was taken for is idle.
  const double head_load = std::max(seen.head_load, 1.0);
  const Point* nearest = nullptr;
  double least = 0;
  for (const Point& point : points_) {
    const double load = head_load * (1.0 - point.cpu);
    const double distance = std::abs(std::log2(*seen.bandwidth_bps / point.bandwidth_bps)) +
                            std::abs(std::log2(load));
    if (nearest != nullptr && !(distance < least)) continue;
    nearest = &point;
    least = distance;
  }
  return steady_.Take(options_, nearest->route, now);
}

AdaptiveChooser::AdaptiveChooser(const Adaptive& policy, const std::vector<RouteOption>& options)
    : policy_(policy),
      options_(options),
      steady_(Best(LinkState{}, policy.within_s), policy.hold_s) {}

size_t AdaptiveChooser::Route(const LinkState& seen, double now) {
  return steady_.Take(options_, Wanted(seen), now);
}

// The best route, if it is enough better than the one that is taken.
size_t AdaptiveChooser::Wanted(const LinkState& seen) const {
#pragma STDC FP_CONTRACT OFF
  const size_t current = steady_.current();
  const std::optional<double> limit_s = policy_.within_s;
  const double less = 1.0 - policy_.margin;
  // For another route the limit is a little lower: at the limit itself it would come and go.
  const size_t best = Best(seen, limit_s ? std::optional<double>(*limit_s * less) : limit_s);
  const double now_s = seen.LatencyOf(options_[current]);
  const double then_s = seen.LatencyOf(options_[best]);
  if (limit_s && now_s <= *limit_s) {
    // It keeps the limit: only for more exact answers, or equal ones sooner.
    const double kept = options_[current].agreement;
    const double given = options_[best].agreement;
    const bool finer = given > kept && then_s <= *limit_s * less;
    const bool sooner = given == kept && then_s < now_s * less;
    return finer || sooner ? best : current;
  }
  return then_s < now_s * less ? best : current;
}

// The most exact within the limit, of equals the quickest; the quickest if none is. Without a
// limit the quickest of those that are exact enough.
size_t AdaptiveChooser::Best(const LinkState& seen, std::optional<double> limit_s) const {
  double least = 0;
  for (const RouteOption& option : options_) least = std::max(least, option.agreement);
  least = limit_s ? 0 : std::min(least, policy_.agreement);
  std::optional<size_t> quickest, within;
  std::vector<double> took;
  for (size_t i = 0; i < options_.size(); ++i) {
    took.push_back(seen.LatencyOf(options_[i]));
    if (options_[i].agreement < least) continue;
    if (!quickest || took[i] < took[*quickest]) quickest = i;
    if (!limit_s || took[i] > *limit_s) continue;
    const double agreement = options_[i].agreement;
    const double most = within ? options_[*within].agreement : -1;
    if (agreement > most || (agreement == most && took[i] < took[*within])) within = i;
  }
  return within ? *within : quickest.value();
}

}  // namespace splitc
