// SPDX-License-Identifier: Apache-2.0
//
// Turns, or a policy.

#include "steering.h"

#include <string>

namespace splitc {
namespace {

double Seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }
double FromMicroseconds(uint32_t microseconds) { return microseconds * 1e-6; }

std::vector<RouteOption> OptionsOf(const std::vector<Remote>& routes, size_t payload_bytes) {
  std::vector<RouteOption> options;
  for (const Remote& remote : routes) options.push_back(OptionOf(remote, payload_bytes));
  return options;
}

// Of a route that there is.
size_t PlaceAmong(const std::string& name, const std::vector<Remote>& routes) {
  size_t place = 0;
  while (routes[place].name != name) ++place;
  return place;
}

bool Loses(Transport transport) {
  return transport == Transport::kUdp || transport == Transport::kParity;
}

}  // namespace

Steering::Steering(const RouteChoice& choice, const std::vector<Remote>& routes,
                   const SendOptions& options)
    : options_(OptionsOf(routes, options.mtu - kPacketOverhead)),
      gauge_(options_, Loses(options.transport)) {
  if (choice.kind == RouteChoice::Kind::kAdaptive) adaptive_.emplace(choice.adaptive, options_);
  if (choice.kind == RouteChoice::Kind::kPlan) {
    std::vector<MapChooser::Point> points;
    for (const PlanCondition& one : choice.plan) {
      points.push_back({one.cpu, one.bandwidth_bps, PlaceAmong(one.route, routes)});
    }
    map_.emplace(points, Adaptive{}.hold_s, options_);
  }
  for (const std::string& name : choice.turns) turns_.push_back(PlaceAmong(name, routes));
}

size_t Steering::Choose(int64_t now) {
  const size_t route = adaptive_ ? adaptive_->Route(gauge_.state(), Seconds(now))
                       : map_    ? map_->Route(gauge_.state(), Seconds(now))
                                 : turns_[chosen_ % turns_.size()];
  if (chosen_ > 0 && route != last_) ++switches_;
  ++chosen_;
  last_ = route;
  return route;
}

bool Steering::WantsProbe(int64_t now) const {
  const bool tells = chosen_ > 0 && options_[last_].packets >= Gauge::kEnoughPackets;
  return measures() && !tells && gauge_.WantsProbe(Seconds(now));
}

void Steering::Ended(const Frame& frame) {
  if (!frame.report) return;
  const Report& said = *frame.report;
  FrameReport report;
  report.spread_s = FromMicroseconds(said.spread_us);
  report.spread_bytes = said.spread_bytes;
  report.wait_s = FromMicroseconds(said.wait_us);
  report.tail_s = FromMicroseconds(said.tail_us);
  report.came = said.came;
  report.chunks = said.chunks;
  gauge_.Report(frame.route, report, Seconds(frame.done_ns));
  // One that was closed before all of it was sent tells nothing of the way there and back.
  if (frame.state == Frame::State::kAnswered && frame.sent_ns <= frame.done_ns) {
    gauge_.Answered(report, Seconds(frame.done_ns - frame.sent_ns));
  }
}

void Steering::Measured(double bandwidth_bps, int64_t now) {
  gauge_.Bandwidth(bandwidth_bps, Seconds(now));
}

}  // namespace splitc
