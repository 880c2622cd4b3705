// SPDX-License-Identifier: Apache-2.0
//
// Which route the next frame takes, by what became of those before it. Pure: times are
// nanoseconds of any clock that does not jump.

#ifndef SPLITC_RUNNER_STEERING_H_
#define SPLITC_RUNNER_STEERING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "gauge.h"
#include "manifest.h"
#include "policy.h"
#include "route_choice.h"
#include "session.h"

namespace splitc {

class Steering {
 public:
  Steering(const RouteChoice& choice, const std::vector<Remote>& routes,
           const SendOptions& options);

  // Whether it goes by measurements, which the server is to report.
  bool measures() const { return (adaptive_ || map_) && options_.size() > 1; }
  // The place of the next frame's route among the routes.
  size_t Choose(int64_t now);
  // Whether the last frame did not tell the bandwidth, and nothing else did lately.
  bool WantsProbe(int64_t now) const;

  // How long the head took on a route.
  void HeadRan(size_t route, double seconds) { gauge_.Head(route, seconds); }
  // What became of a frame.
  void Ended(const Frame& frame);
  // What a train of probes told.
  void Measured(double bandwidth_bps, int64_t now);

  // How often a frame took another route than the one before it.
  uint64_t switches() const { return switches_; }

 private:
  std::vector<RouteOption> options_;
  Gauge gauge_;
  std::optional<AdaptiveChooser> adaptive_;
  std::optional<MapChooser> map_;
  std::vector<size_t> turns_;  // where it does not go by measurements
  uint64_t chosen_ = 0;
  size_t last_ = 0;
  uint64_t switches_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_STEERING_H_
