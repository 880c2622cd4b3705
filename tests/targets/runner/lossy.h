// SPDX-License-Identifier: Apache-2.0
//
// A session of the runner's against a server of a few lines, over a link that loses packets
// both ways: all of it in a time of its own, so that a long run takes no longer than it computes.

#ifndef SPLITC_TESTS_LOSSY_H_
#define SPLITC_TESTS_LOSSY_H_

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "session.h"
#include "text.h"
#include "timings.h"

namespace splitc {

class LossyLink {
 public:
  LossyLink(uint64_t loss_percent, uint64_t seed)
      : loss_(loss_percent), random_(seed), session_(Config()) {}

  // "ANSWERED SILENT NACKS P50_US P99_US MAX_US" of frames that begin 20 ms apart.
  std::vector<uint8_t> Run(uint64_t frames) {
    session_.Begin(now_);
    uint64_t begun = 0;
    int64_t next = now_;
    std::map<Frame*, int64_t> begun_ns;
    Timings latency;
    double longest = 0;
    while (session_.counters().answered + session_.counters().silent < frames) {
      const bool due = session_.open() && begun < frames && now_ >= next;
      bool full = due;
      if (Frame* frame = due ? session_.Take(0) : nullptr) {
        full = false;
        begun_ns[frame] = now_;
        session_.Send(frame, now_);
        next = now_ + 20 * kMillisecond;
        ++begun;
      }
      Transmit();
      session_.Expire(now_);
      while (Frame* frame = session_.Oldest()) {
        if (frame->state == Frame::State::kOnItsWay) break;
        const double took = static_cast<double>(frame->done_ns - begun_ns[frame]) * 1e-3;
        latency.Add(took);
        longest = std::max(longest, took);
        session_.Release(frame);
        full = false;
      }
      const int64_t begin = session_.open() && begun < frames && !full ? next : kNever;
      now_ = std::max(now_ + 1000, std::min({session_.NextWake(), NextEvent(), begin}));
    }
    const Counters& c = session_.counters();
    std::string text = Decimal(c.answered) + " " + Decimal(c.silent) + " " + Decimal(c.nacks);
    for (const double value : {latency.Percentile(0.5), latency.Percentile(0.99), longest}) {
      text += " " + Decimal(static_cast<int64_t>(value));
    }
    return std::vector<uint8_t>(text.begin(), text.end());
  }

 private:
  static constexpr int64_t kOneWay = kMillisecond;
  static constexpr int64_t kTail = kMillisecond;
  static constexpr uint32_t kChunks = 20;

  struct Served {
    std::vector<bool> came = std::vector<bool>(kChunks);
    uint32_t count = 0;
    int64_t closes_ns = kNever;
    bool answered = false;
  };

  static SessionConfig Config() {
    SessionConfig config;
    config.routes = {{0, {{FindDType("uint8"), 64 * kChunks, {}}}, 40}};
    config.payload_bytes = 64;
    config.deadline_ns = 60 * kMillisecond;
    config.grace_ns = 5 * kMillisecond;
    config.silent_ns = kSecond;
    config.in_flight = 8;
    config.random = [](void* bytes, size_t count) { std::memset(bytes, 1, count); };
    return config;
  }

  bool Lost() {
    random_ += 0x9e3779b97f4a7c15u;
    uint64_t z = random_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((z ^ (z >> 31)) >> 32) % 100 < loss_;
  }

  int64_t NextEvent() const {
    int64_t first = kNever;
    if (!arrivals_.empty()) first = arrivals_.begin()->first;
    for (const auto& [number, frame] : served_) {
      if (!frame.answered) first = std::min(first, frame.closes_ns);
    }
    return first;
  }

  void Transmit() {
    std::vector<uint8_t> packet(session_.packet_bytes());
    while (const size_t size = session_.Produce(now_, packet.data())) Serve(packet.data(), size);
    for (auto& [number, frame] : served_) {
      if (!frame.answered && now_ >= frame.closes_ns) Answer(number, &frame);
    }
    while (!arrivals_.empty() && arrivals_.begin()->first <= now_) {
      std::vector<uint8_t> arrived = arrivals_.begin()->second;
      arrivals_.erase(arrivals_.begin());
      session_.Handle(arrived.data(), arrived.size(), now_);
    }
    while (served_.size() > 64) served_.erase(served_.begin());
  }

  void Reply(Header header, const void* payload, size_t size, int64_t after) {
    if (Lost()) return;
    std::vector<uint8_t> packet(kHeaderBytes + size);
    WriteHeader(header, packet.data());
    std::memcpy(&packet[kHeaderBytes], payload, size);
    arrivals_.emplace(now_ + after + 2 * kOneWay, std::move(packet));
  }

  // What is sent is served when it would be answered: at once, and the answer takes both ways.
  void Serve(const uint8_t* packet, size_t size) {
    Header header;
    ReadHeader(packet, size, &header);
    if (Lost()) return;
    if (header.kind == PacketKind::kHello) {
      uint8_t welcome[76] = {};
      std::memset(welcome, 1, 16);
      header.kind = PacketKind::kWelcome;
      header.session = 1;
      welcome[40] = 8;
      return Reply(header, welcome, sizeof welcome, 0);
    }
    Served& frame = served_[header.frame];
    if (header.kind == PacketKind::kNack) {
      if (frame.answered) return Answer(header.frame, &frame);
      frame.closes_ns = std::min(frame.closes_ns, now_ + 5 * kMillisecond);
    } else if (!frame.came[header.chunk] && !frame.answered) {
      frame.came[header.chunk] = true;
      frame.closes_ns = now_ + (header.chunk == kChunks - 1 ? 5 : 60) * kMillisecond;
      if (++frame.count == kChunks) Answer(header.frame, &frame);
    }
  }

  void Answer(uint32_t number, Served* frame) {
    Header header;
    header.kind = PacketKind::kAnswer;
    header.session = 1;
    header.frame = number;
    header.chunks = 1;
    const uint8_t result[40] = {};
    Reply(header, result, sizeof result, frame->answered ? 0 : kTail);
    frame->answered = true;
  }

  uint64_t loss_;
  uint64_t random_;
  int64_t now_ = kSecond;
  Session session_;
  std::multimap<int64_t, std::vector<uint8_t>> arrivals_;
  std::map<uint32_t, Served> served_;
};

}  // namespace splitc

#endif  // SPLITC_TESTS_LOSSY_H_
