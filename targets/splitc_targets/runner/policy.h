// SPDX-License-Identifier: Apache-2.0
//
// Which way through a bundle each frame takes, by what is measured: splitc.policy in C++, which
// decides the same for the same history. Pure: times are seconds of any clock that does not jump.

#ifndef SPLITC_RUNNER_POLICY_H_
#define SPLITC_RUNNER_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "manifest.h"

namespace splitc {

// One route, and what a frame on it is expected to take.
struct RouteOption {
  std::string name;
  double head_s = 0;
  uint64_t sent_bytes = 0;  // of its packets, all headers included
  uint64_t packets = 0;
  double tail_s = 0;
  double link_s = 0;  // on the link that it was compiled for
  double agreement = 1;

  double expected_s() const { return head_s + link_s + tail_s; }
};

// What a manifest says of a route whose packets hold so many bytes of values.
RouteOption OptionOf(const Remote& remote, size_t payload_bytes);

// What is measured of link, device and server.
struct LinkState {
  std::optional<double> bandwidth_bps;  // towards the server
  double loss_rate = 0;
  std::optional<double> rtt_s;
  double head_load = 1;  // what the device takes over what it was expected to
  double tail_load = 1;
  double wait_s = 0;  // of a frame at the server, until its tail runs

  // Seconds that a frame on a route is expected to take now.
  double LatencyOf(const RouteOption& option) const;
};

// The quickest route, or within a limit the most exact one (splitc.policy.Adaptive).
struct Adaptive {
  std::optional<double> within_s;
  double margin = 0.1;  // how much better another route has to be
  double hold_s = 0.5;  // for so long where it has more bytes
  // Without a limit, the share of answers that a route leaves as they are; where none does, those
  // that leave most.
  double agreement = 0.99;
};

// A route that is taken, while another may be wanted (splitc.policy.steady).
class Steady {
 public:
  Steady(size_t current, double hold_s)
      : current_(current), least_s_(hold_s), hold_s_(hold_s) {}

  size_t current() const { return current_; }
  size_t Take(const std::vector<RouteOption>& options, size_t wanted, double now);

 private:
  size_t current_;
  double least_s_, hold_s_;
  bool has_risen_ = false;
  std::optional<double> changed_s_;
  std::optional<size_t> wanted_;
  double since_s_ = 0;
};

// Says where each of a plan's conditions sends frames: to the condition nearest to what is
// measured, in ratios of bandwidth and of load (splitc.policy.Mapped).
class MapChooser {
 public:
  struct Point {
    double cpu = 0;
    double bandwidth_bps = 0;
    size_t route = 0;
  };

  // `points` are of the plan's conditions those with the least memory stress: a device measures
  // none.
  MapChooser(std::vector<Point> points, double hold_s, const std::vector<RouteOption>& options);

  size_t Route(const LinkState& seen, double now);

 private:
  std::vector<Point> points_;
  std::vector<RouteOption> options_;
  Steady steady_;
};

class AdaptiveChooser {
 public:
  AdaptiveChooser(const Adaptive& policy, const std::vector<RouteOption>& options);

  // The place of the next frame's route; `now` is never less than before.
  size_t Route(const LinkState& seen, double now);

 private:
  size_t Wanted(const LinkState& seen) const;
  size_t Best(const LinkState& seen, std::optional<double> limit_s) const;

  Adaptive policy_;
  std::vector<RouteOption> options_;
  Steady steady_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_POLICY_H_
