// SPDX-License-Identifier: Apache-2.0
//
// A train of probes that tells a link's bandwidth (docs/wire.md). Pure.

#ifndef SPLITC_RUNNER_TRAIN_H_
#define SPLITC_RUNNER_TRAIN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace splitc {

// Packets that come in less time come at once, as far as a receiver can tell.
inline constexpr double kShortestSeconds = 2e-4;

// Bits a second of the slowest part of a way, from when packets that were sent at once came, NaN
// for those that did not; none where there are no neighbours, or no time between them. See
// splitc.link.measured.train_bandwidth.
std::optional<double> TrainBandwidth(const std::vector<double>& arrivals_s, size_t packet_bytes);

class Train {
 public:
  static constexpr uint16_t kProbes = 8;
  static constexpr size_t kEchoBytes = 16;

  // Begins the next one.
  void Begin(int64_t give_up_ns);
  // Forgets the one that is on its way; the next has another number.
  void Stop() { on_its_way_ = false; }

  bool on_its_way() const { return on_its_way_; }
  uint32_t number() const { return number_; }
  int64_t give_up_ns() const { return give_up_ns_; }
  // The next probe to be sent; kProbes where all were.
  uint16_t next() const { return next_; }
  void Sent() { ++next_; }

  // An ECHO's payload came: the next one is waited for until then. False for what is none of
  // this train.
  bool Add(uint32_t train, uint16_t probe, const uint8_t* payload, size_t size,
           int64_t give_up_ns);
  bool complete() const { return came_ == kProbes; }
  // What it tells, where packets have so many bytes on the link; it is over then. Where all came
  // too close together to be told apart, what the link has at least.
  std::optional<double> End(size_t packet_bytes);

 private:
  bool on_its_way_ = false;
  uint32_t number_ = 0;
  uint16_t next_ = 0;
  uint16_t came_ = 0;
  int64_t give_up_ns_ = 0;
  std::optional<uint64_t> clock_ns_[kProbes];
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_TRAIN_H_
