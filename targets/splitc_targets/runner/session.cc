// SPDX-License-Identifier: Apache-2.0
//
// What a session sends, and when. What it makes of what comes is in session_handle.cc.

#include <algorithm>
#include <numeric>

#include "seal.h"
#include "session.h"

namespace splitc {
namespace {

// How often HELLO is said, and how often when nobody has answered for a while.
constexpr int64_t kHelloWait = 100 * kMillisecond;
constexpr int64_t kLongestWait = kSecond;
constexpr uint32_t kQuickHellos = 50;
// Over TCP, so many without an answer may be said into a connection that is half dead.
constexpr uint32_t kHellosOverOneWay = 10;
constexpr int64_t kFirstAsk = 2 * kMillisecond;
constexpr int64_t kShortestAskWait = 5 * kMillisecond;
constexpr int64_t kLongestAskWait = 50 * kMillisecond;
// What may be sent at once where the sender had been idle.
constexpr int64_t kBurst = 2 * kMillisecond;
// So long a train waits for the last frame's answer, and then for its own first echo.
constexpr int64_t kLongestTrain = 500 * kMillisecond;
constexpr uint32_t kResendsPerChunk = 16;
// Frames of a session are numbered up to here: no number is used twice under one key.
constexpr uint32_t kLastNumber = UINT32_MAX;

}  // namespace

Session::Lane::Lane(const SessionRoute& route, const SessionConfig& config)
    : number(route.number),
      result_bytes(route.result_bytes),
      shape(route.crosses, config.payload_bytes),
      parity(shape.chunks(), config.parity_percent, config.payload_bytes),
      answer_chunks(AnswerChunks(route.result_bytes, config.payload_bytes)) {}

Session::Session(const SessionConfig& config)
    : config_(config), frames_(config.in_flight), in_flight_(config.in_flight) {
  for (const SessionRoute& route : config_.routes) lanes_.emplace_back(route, config_);
}

size_t Session::packet_bytes() const {
  return kHeaderBytes + std::max(config_.payload_bytes, kHelloBytes) + kTagBytes;
}

void Session::Begin(int64_t now) {
  state_ = State::kHello;
  hello_ = Hello{};
  config_.random(hello_.nonce.data(), hello_.nonce.size());
  hello_.payload_bytes = static_cast<uint16_t>(config_.payload_bytes);
  hello_.transport = config_.transport;
  hello_.parity_percent = static_cast<uint8_t>(config_.parity_percent);
  hello_.deadline_us = static_cast<uint32_t>(config_.deadline_ns / 1000);
  hello_.grace_us = static_cast<uint32_t>(config_.grace_ns / 1000);
  hello_.flags = config_.wants_reports ? kWantsReports : 0;
  hello_ns_ = now;
  hellos_ = 0;
  other_way_ = false;
}

Frame* Session::Take(size_t route) {
  Frame& frame = At(taken_);
  if (full() || frame.state != Frame::State::kFree) return nullptr;
  ++taken_;
  frame.state = Frame::State::kTaken;
  frame.route = route;
  const uint64_t bytes = lanes_[route].shape.bytes();
  // What only another route needs is given back, and nothing of another is taken along.
  const uint64_t room = frame.tensors.capacity();
  if (room < bytes || room / 2 > bytes) std::vector<uint8_t>().swap(frame.tensors);
  frame.tensors.resize(bytes);
  return &frame;
}

void Session::Send(Frame* frame, int64_t now) {
  ++counters_.frames;
  ++sent_;
  frame->state = Frame::State::kOnItsWay;
  frame->give_up_ns = now + config_.silent_ns;
  if (next_number_ == kLastNumber && open()) Begin(now);
  Restart(frame);
}

void Session::Restart(Frame* frame) {
  const Lane& lane = LaneOf(*frame);
  frame->number = next_number_++;
  frame->next_chunk = frame->next_parity = 0;
  frame->sent_ns = kNever;
  frame->heard = frame->ask_now = frame->asked = false;
  frame->ask_ns = kNever;
  frame->resend.assign(lane.shape.chunks(), false);
  frame->turns.resize(lane.shape.chunks());
  std::iota(frame->turns.begin(), frame->turns.end(), 0);
  frame->last_turn = lane.shape.chunks();
  frame->lacked = UINT32_MAX;
  const double gap_ns = PacketSeconds(config_.payload_bytes) * 1e9;
  frame->trickles = gap_ns > static_cast<double>(config_.grace_ns);
  frame->resends = 0;
  frame->resends_left = kResendsPerChunk * lane.shape.chunks();
  frame->answer.Start(lane.result_bytes, config_.payload_bytes);
  frame->report.reset();
}

Frame* Session::Oldest() { return oldest_ == sent_ ? nullptr : &At(oldest_); }

void Session::Release(Frame* frame) {
  frame->state = Frame::State::kFree;
  ++oldest_;
}

size_t Session::Produce(int64_t now, uint8_t* packet) {
  if (state_ != State::kOpen) return ProduceHello(now, packet);
  for (uint64_t id = oldest_; id < sent_; ++id) {
    Frame& frame = At(id);
    if (frame.state != Frame::State::kOnItsWay) continue;
    if (now >= frame.ask_ns) Ask(&frame, now);
    if (frame.ask_now) return ProduceNack(&frame, packet);
  }
  if (now < pace_ns_) return 0;
  if (probe_ns_ != kNever && (now >= probe_ns_ || idle())) {
    probe_ns_ = kNever;
    train_.Begin(now + kLongestTrain);
  }
  // With nothing between its packets.
  if (train_.on_its_way() && train_.next() < Train::kProbes) return ProduceProbe(now, packet);
  for (uint64_t id = oldest_; id < sent_; ++id) {
    Frame& frame = At(id);
    if (frame.state != Frame::State::kOnItsWay) continue;
    if (frame.resends > 0) return ProduceResend(&frame, now, packet);
    if (HasChunks(frame)) return ProduceChunk(&frame, id, now, packet);
  }
  return 0;
}

size_t Session::ProduceHello(int64_t now, uint8_t* packet) {
  if (state_ != State::kHello || refused_ || now < hello_ns_) return 0;
  const auto bytes = WriteHello(hello_, config_.split, config_.key);
  std::copy(bytes.begin(), bytes.end(), packet);
  hello_sent_ns_ = now;
  if ((hellos_ + 1) % kHellosOverOneWay == 0) other_way_ = true;
  hello_ns_ = now + (++hellos_ < kQuickHellos ? kHelloWait : kLongestWait);
  return Count(bytes.size());
}

bool Session::HasChunks(const Frame& frame) const {
  const Lane& lane = LaneOf(frame);
  return frame.next_chunk < lane.shape.chunks() ||
         (config_.transport == Transport::kParity && frame.next_parity < lane.parity.chunks());
}

size_t Session::ProduceChunk(Frame* frame, uint64_t id, int64_t now, uint8_t* packet) {
  size_t size;
  Lane& lane = LaneOf(*frame);
  if (frame->next_chunk < lane.shape.chunks()) {
    size = WriteData(*frame, frame->next_chunk++, packet);
  } else {
    Header header = HeaderOf(PacketKind::kParity, *frame);
    header.chunk = static_cast<uint16_t>(frame->next_parity);
    header.chunks = static_cast<uint16_t>(lane.shape.chunks());
    header.extra = static_cast<uint16_t>(config_.parity_percent);
    lane.parity.Write(lane.shape, frame->tensors.data(), id, frame->next_parity++,
                      packet + kHeaderBytes);
    size = Seal(header, packet, kHeaderBytes + config_.payload_bytes);
  }
  Pace(size, now);
  if (!HasChunks(*frame)) {
    frame->sent_ns = now;
    StartAsking(frame, now);
  }
  return Count(size);
}

size_t Session::ProduceResend(Frame* frame, int64_t now, uint8_t* packet) {
  uint32_t chunk = 0;
  while (!frame->resend[chunk]) ++chunk;
  frame->resend[chunk] = false;
  --frame->resends;
  ++counters_.packets_resent;
  const size_t size = WriteData(*frame, chunk, packet);
  Pace(size, now);
  return Count(size);
}

void Session::Probe(int64_t now) {
  if (state_ != State::kOpen || train_.on_its_way() || probe_ns_ != kNever) return;
  if (config_.payload_bytes >= Train::kEchoBytes) probe_ns_ = now + kLongestTrain;
}

bool Session::idle() const {
  for (uint64_t id = oldest_; id < sent_; ++id) {
    if (At(id).state == Frame::State::kOnItsWay) return false;
  }
  return true;
}

size_t Session::ProduceProbe(int64_t now, uint8_t* packet) {
  Header header;
  header.kind = PacketKind::kProbe;
  header.session = session_;
  header.split = config_.split;
  header.frame = train_.number();
  header.chunk = train_.next();
  header.extra = Train::kEchoBytes;
  train_.Sent();
  std::fill_n(packet + kHeaderBytes, config_.payload_bytes, uint8_t{0});
  const size_t size = Seal(header, packet, kHeaderBytes + config_.payload_bytes);
  Pace(size, now);
  return Count(size);
}

size_t Session::WriteData(const Frame& frame, uint32_t chunk, uint8_t* packet) {
  Header header = HeaderOf(PacketKind::kData, frame);
  header.chunk = static_cast<uint16_t>(chunk);
  const Boundary& shape = LaneOf(frame).shape;
  header.chunks = static_cast<uint16_t>(shape.chunks());
  const size_t size = shape.Pack(frame.tensors.data(), chunk, packet + kHeaderBytes);
  return Seal(header, packet, kHeaderBytes + size);
}

// When an answer is later than answers usually are, as TCP (RFC 6298) takes it for lost; at
// the latest when the server must have closed the frame.
void Session::StartAsking(Frame* frame, int64_t now) {
  if (config_.transport == Transport::kTcp) return;
  const Lane& lane = LaneOf(*frame);
  const int64_t usual = lane.answer_mean_ns > 0 ? lane.answer_mean_ns + 4 * lane.answer_spread_ns
                                                : config_.grace_ns + 2 * round_trip_ns_;
  const int64_t closed = config_.deadline_ns + config_.grace_ns + round_trip_ns_;
  frame->ask_ns = now + std::max(std::min(usual, closed), kFirstAsk);
  frame->ask_wait_ns = std::clamp(2 * round_trip_ns_, kShortestAskWait, kLongestAskWait);
}

// Says what is missing of the answer. Where nothing came back, the server may know nothing of
// the frame's end: what is sent again then has its last chunk.
void Session::Ask(Frame* frame, int64_t now) {
  frame->ask_now = frame->asked = true;
  frame->ask_ns = now + frame->ask_wait_ns;
  frame->ask_wait_ns = std::min(frame->ask_wait_ns * 5 / 4, kLongestAskWait);
  if (config_.transport == Transport::kResend && !frame->heard) {
    Resend(frame, LaneOf(*frame).shape.chunks() - 1);
  }
}

void Session::Resend(Frame* frame, uint32_t chunk) {
  if (frame->resend[chunk] || chunk >= frame->next_chunk || frame->resends_left == 0) return;
  frame->resend[chunk] = true;
  ++frame->resends;
  --frame->resends_left;
}

size_t Session::ProduceNack(Frame* frame, uint8_t* packet) {
  frame->ask_now = false;
  Header header = HeaderOf(PacketKind::kNack, *frame);
  header.chunk = static_cast<uint16_t>(asked_);
  header.extra = static_cast<uint16_t>(asked_ >> 16);
  ++asked_;
  ++counters_.nacks;
  // All of it: then the number of pieces is not said, and the server takes the frame as ended.
  std::vector<uint8_t> bitmap{0xff};
  if (!frame->answer.empty()) {
    header.chunks = static_cast<uint16_t>(LaneOf(*frame).answer_chunks);
    bitmap = frame->answer.Missing();
  }
  std::copy(bitmap.begin(), bitmap.end(), packet + kHeaderBytes);
  return Count(Seal(header, packet, kHeaderBytes + bitmap.size()));
}

size_t Session::SayGoodbye(uint8_t* packet) {
  if (!open()) return 0;
  Header header;
  header.kind = PacketKind::kBye;
  header.session = session_;
  header.split = config_.split;
  state_ = State::kIdle;
  return Count(Seal(header, packet, kHeaderBytes));
}

Header Session::HeaderOf(PacketKind kind, const Frame& frame) const {
  Header header;
  header.kind = kind;
  header.session = session_;
  header.split = config_.split;
  header.frame = frame.number;
  header.route = LaneOf(frame).number;
  return header;
}

size_t Session::Seal(const Header& header, uint8_t* packet, size_t size) {
  WriteHeader(header, packet);
  return keys_ ? SealPacket(keys_->to_server, header, packet, size) : size;
}

size_t Session::Count(size_t size) {
  ++counters_.packets_sent;
  counters_.bytes_sent += size;
  return size;
}

double Session::PacketSeconds(size_t size) const {
  if (config_.bandwidth_bps <= 0) return 0;
  return static_cast<double>(size + kDatagramOverhead) * 8 / config_.bandwidth_bps;
}

void Session::Pace(size_t size, int64_t now) {
  if (config_.bandwidth_bps <= 0) return;
  pace_ns_ = std::max(pace_ns_, now - kBurst) + static_cast<int64_t>(PacketSeconds(size) * 1e9);
}

int64_t Session::NextWake() const {
  int64_t wake = state_ == State::kHello && !refused_ ? hello_ns_ : kNever;
  for (uint64_t id = oldest_; id < sent_; ++id) {
    const Frame& frame = At(id);
    if (frame.state != Frame::State::kOnItsWay) continue;
    wake = std::min(wake, frame.give_up_ns);
    if (state_ != State::kOpen) continue;
    wake = std::min(wake, frame.ask_ns);
    if (frame.resends > 0 || HasChunks(frame)) wake = std::min(wake, pace_ns_);
  }
  if (state_ == State::kOpen && probe_ns_ != kNever) {
    wake = std::min(wake, std::max(pace_ns_, idle() ? 0 : probe_ns_));
  }
  if (state_ == State::kOpen && train_.on_its_way()) {
    const bool waits = train_.next() < Train::kProbes;
    wake = std::min(wake, waits ? pace_ns_ : train_.give_up_ns());
  }
  return wake;
}

void Session::Expire(int64_t now) {
  if (train_.on_its_way() && now >= train_.give_up_ns()) EndTrain();
  for (uint64_t id = oldest_; id < sent_; ++id) {
    Frame& frame = At(id);
    if (frame.state != Frame::State::kOnItsWay || now < frame.give_up_ns) continue;
    frame.state = Frame::State::kSilent;
    frame.done_ns = now;
    ++counters_.silent;
  }
}

}  // namespace splitc
