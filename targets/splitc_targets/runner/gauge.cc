// SPDX-License-Identifier: Apache-2.0
//
// Measurements. Sums are in the order of splitc.policy.Gauge.

#include "gauge.h"

#include <algorithm>

#include "train.h"

namespace splitc {
namespace {

constexpr double kProbeEverySeconds = 0.5;
// A frame whose packets come over so long is a mean over that time, and counts once more; over
// twice as long twice more.
constexpr double kLongSeconds = 0.02;
// A bandwidth that the middle one is off from by more is asked for again at once.
constexpr double kDisagrees = 1.25;

// The middle one, of an even number the lower: never a value that nobody measured.
template <size_t kMost>
std::optional<double> Median(const Recent<double, kMost>& values) {
  if (values.empty()) return std::nullopt;
  double sorted[kMost];
  std::copy(values.begin(), values.end(), sorted);
  // Any comparison but the default one, whose code is in the library and not in the headers.
  std::sort(sorted, sorted + values.size(), [](double a, double b) { return a < b; });
  return sorted[(values.size() - 1) / 2];
}

}  // namespace

void Gauge::Head(size_t route, double seconds) {
  const double expected_s = options_[route].head_s;
  if (expected_s > 0) heads_.Add(seconds / expected_s);
}

void Gauge::Report(size_t route, const FrameReport& report, double now) {
  waits_.Add(report.wait_s);
  const double expected_s = options_[route].tail_s;
  if (expected_s > 0) tails_.Add(report.tail_s / expected_s);
  if (loses_) chunks_.Add({report.came, report.chunks});
  if (report.came >= kEnoughPackets) {
    const double bits = static_cast<double>(report.spread_bytes * 8);
    const double more = std::min(report.spread_s / kLongSeconds, kBandwidths - 1.0);
    Bandwidth(bits / std::max(report.spread_s, kShortestSeconds), now, 1 + static_cast<int>(more));
  }
}

void Gauge::Answered(const FrameReport& report, double link_tail_s) {
  // A receiver waits for packets that do not come.
  if (report.came != report.chunks) return;
  const double left_s = link_tail_s - report.spread_s - report.wait_s - report.tail_s;
  trips_.Add(std::max(left_s, 0.0));
}

void Gauge::Bandwidth(double bps, double now, int weight) {
#pragma STDC FP_CONTRACT OFF
  if (!(bps > 0)) return;
  for (int k = 0; k < weight; ++k) bandwidths_.Add(bps);
  const double known = Median(bandwidths_).value_or(bps);
  const bool agrees = known <= bps * kDisagrees && bps <= known * kDisagrees;
  measured_s_ = agrees ? std::optional<double>(now) : std::nullopt;
}

bool Gauge::WantsProbe(double now) const {
  return !measured_s_ || now >= *measured_s_ + kProbeEverySeconds;
}

LinkState Gauge::state() const {
  LinkState state;
  uint64_t came = 0, chunks = 0;
  for (const Came& one : chunks_) {
    came += one.came;
    chunks += one.chunks;
  }
  state.bandwidth_bps = Median(bandwidths_);
  if (chunks > 0) {
    state.loss_rate = static_cast<double>(chunks - came) / static_cast<double>(chunks);
  }
  if (!trips_.empty()) state.rtt_s = *std::min_element(trips_.begin(), trips_.end());
  state.head_load = Median(heads_).value_or(1);
  state.tail_load = Median(tails_).value_or(1);
  state.wait_s = Median(waits_).value_or(0);
  return state;
}

}  // namespace splitc
