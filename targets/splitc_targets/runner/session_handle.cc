// SPDX-License-Identifier: Apache-2.0
//
// What a session makes of packets that come. Anyone may send them: each length is checked,
// and what does not fit is counted and dropped.

#include <algorithm>
#include <cstdlib>

#include "seal.h"
#include "session.h"
#include "utf8.h"

namespace splitc {
namespace {

constexpr size_t kMaxFailureBytes = 200;
constexpr uint32_t kRefusalsOverUdp = 3;
// Chunks that come at most from one question to the next, and are asked for at least, where a link
// is slower than the server waits for.
constexpr uint32_t kTrickle = 2, kMuch = 4;
// A train is over where no further echo comes in that time.
constexpr int64_t kLongestEchoGap = 100 * kMillisecond;

}  // namespace

void Session::Handle(uint8_t* packet, size_t size, int64_t now) {
  ++counters_.packets_received;
  counters_.bytes_received += size;
  Header header;
  if (!ReadHeader(packet, size, &header) || header.split != config_.split) {
    ++counters_.malformed;
    return;
  }
  if (header.kind == PacketKind::kChallenge || header.kind == PacketKind::kWelcome ||
      header.kind == PacketKind::kRefuse) {
    return HandleGreeting(header, packet, size, now);
  }
  if (!open() || header.session != session_) return;  // of a session that ended
  if (keys_) {
    size = OpenPacket(keys_->to_device, header, packet, size);
    if (size == 0) {
      ++counters_.bad_seal;
      return;
    }
  }
  HandleOpened(header, packet + kHeaderBytes, size - kHeaderBytes, now);
}

void Session::HandleOpened(const Header& header, const uint8_t* data, size_t size, int64_t now) {
  if (header.kind == PacketKind::kBye) {
    // It may be restarting. HELLO is answered when it is there again.
    Begin(now);
    other_way_ = true;
    return;
  }
  if (header.kind == PacketKind::kEcho) return HandleEcho(header, data, size, now);
  const bool ours = header.kind == PacketKind::kAnswer || header.kind == PacketKind::kNack ||
                    header.kind == PacketKind::kFail || header.kind == PacketKind::kReport;
  const auto named = [&header](const Lane& lane) { return lane.number == header.route; };
  if (!ours || std::none_of(lanes_.begin(), lanes_.end(), named) ||
      header.frame >= next_number_) {
    ++counters_.malformed;
    return;
  }
  Frame* frame = FrameOf(header);
  if (frame == nullptr) {
    if (header.kind == PacketKind::kAnswer) ++counters_.duplicate;
    return;
  }
  if (LaneOf(*frame).number != header.route) {
    ++counters_.malformed;
    return;
  }
  if (header.kind == PacketKind::kReport) return HandleReport(frame, header, data, size);
  frame->heard = true;
  if (header.kind == PacketKind::kAnswer) return HandleAnswer(frame, header, data, size, now);
  if (header.kind == PacketKind::kNack) return HandleNack(frame, header, data, size, now);
  HandleFail(frame, data, size, now);
}

Frame* Session::FrameOf(const Header& header) {
  for (uint64_t id = oldest_; id < sent_; ++id) {
    Frame& frame = At(id);
    if (frame.state == Frame::State::kOnItsWay && frame.number == header.frame) return &frame;
  }
  return nullptr;
}

void Session::HandleAnswer(Frame* frame, const Header& header, const uint8_t* data, size_t size,
                           int64_t now) {
  switch (frame->answer.Add(header.chunk, header.chunks, data, size)) {
    case AnswerPieces::Added::kMalformed:
      ++counters_.malformed;
      return;
    case AnswerPieces::Added::kDuplicate:
      ++counters_.duplicate;
      return;
    case AnswerPieces::Added::kNew:
      break;
  }
  frame->share = header.extra / 65535.0;
  if (!frame->answer.complete()) {
    // The other pieces follow at once, or not at all.
    if (config_.transport != Transport::kTcp) frame->ask_ns = now + config_.grace_ns;
    return;
  }
  frame->state = Frame::State::kAnswered;
  frame->done_ns = now;
  ++counters_.answered;
  if (HasChunks(*frame)) return;  // at its deadline, before the last chunk was sent
  const int64_t took = now - frame->sent_ns;
  if (took > config_.deadline_ns) ++counters_.late;
  if (frame->asked) return;  // that tells how long was waited, and not how long it takes
  Lane& lane = LaneOf(*frame);
  if (lane.answer_mean_ns == 0) {
    lane.answer_mean_ns = took;
    lane.answer_spread_ns = took / 2;
  } else {
    lane.answer_spread_ns +=
        (std::abs(lane.answer_mean_ns - took) - lane.answer_spread_ns) / 4;
    lane.answer_mean_ns += (took - lane.answer_mean_ns) / 8;
  }
}

void Session::HandleReport(Frame* frame, const Header& header, const uint8_t* data,
                           size_t size) {
  const uint32_t chunks = LaneOf(*frame).shape.chunks();
  const std::optional<Report> report = ReadReport(data, size, chunks);
  if (!report || header.chunks != chunks || header.chunk != 0) {
    ++counters_.malformed;
  } else if (frame->report) {
    ++counters_.duplicate;
  } else {
    frame->report = report;
  }
}

void Session::HandleEcho(const Header& header, const uint8_t* data, size_t size, int64_t now) {
  // Echoes of a train that was given up come late, and mean nothing.
  const int64_t give_up_ns = now + kLongestEchoGap;
  if (!train_.Add(header.frame, header.chunk, data, size, give_up_ns)) return;
  if (train_.complete()) EndTrain();
}

void Session::EndTrain() {
  const size_t tag = keys_ ? kTagBytes : 0;
  const auto bps =
      train_.End(kHeaderBytes + config_.payload_bytes + tag + kDatagramOverhead);
  if (bps) bandwidth_bps_ = bps;
}

void Session::HandleNack(Frame* frame, const Header& header, const uint8_t* bitmap, size_t size,
                         int64_t now) {
  const uint32_t chunks = LaneOf(*frame).shape.chunks();
  const bool nothing_came = header.chunks == 0 && size == 1 && bitmap[0] == 0xff;
  const bool some_came = header.chunks == chunks && size == (chunks + 7) / 8;
  if (config_.transport != Transport::kResend || !(nothing_came || some_came)) {
    ++counters_.malformed;
    return;
  }
  const auto lacks = [&](uint32_t chunk) {
    return nothing_came || (bitmap[chunk / 8] >> (chunk % 8) & 1) != 0;
  };
  // A link where packets are further apart than the server waits has its queue asked for packet for
  // packet. There, what left before a chunk that came is lost; what left behind all of those is
  // under way as long as more comes from one question to the next.
  uint32_t lacked = 0, newest = 0;
  for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
    if (lacks(chunk)) {
      ++lacked;
    } else {
      newest = std::max(newest, frame->turns[chunk]);
    }
  }
  const uint32_t before = frame->lacked == UINT32_MAX ? chunks : frame->lacked;
  frame->lacked = lacked;
  if (lacked < before && before - lacked <= kTrickle && lacked > kMuch) frame->trickles = true;
  const bool all = !frame->trickles || lacked == before || lacked == chunks;
  for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
    if (!lacks(chunk) || !(all || frame->turns[chunk] < newest)) continue;
    Resend(frame, chunk);
    frame->turns[chunk] = ++frame->last_turn;
  }
  if (!HasChunks(*frame)) StartAsking(frame, now);
}

void Session::HandleFail(Frame* frame, const uint8_t* text, size_t size, int64_t now) {
  const std::string_view all(reinterpret_cast<const char*>(text), size);
  frame->failure = OneLine(all, kMaxFailureBytes);
  frame->state = Frame::State::kFailed;
  frame->done_ns = now;
  ++counters_.failed;
}

void Session::HandleGreeting(const Header& header, const uint8_t* packet, size_t size,
                             int64_t now) {
  if (header.kind == PacketKind::kRefuse) {
    const std::optional<Refuse> refuse = ReadRefuse(packet, size);
    if (!refuse) {
      ++counters_.malformed;
      return;
    }
    return HandleRefuse(header, *refuse, now);
  }
  if (state_ != State::kHello) return;
  round_trip_ns_ = std::min(round_trip_ns_, std::max<int64_t>(now - hello_sent_ns_, 0));
  if (header.kind == PacketKind::kChallenge) {
    const auto cookie = ReadChallenge(packet, size, hello_.nonce);
    if (!cookie || *cookie == hello_.cookie) return;
    hello_.cookie = *cookie;
    hello_ns_ = now;
    return;
  }
  const auto welcome = ReadWelcome(packet, size, hello_.nonce, config_.key);
  if (welcome) Welcomed(*welcome);
}

void Session::Welcomed(const ReadWelcomeResult& result) {
  if (!result.authentic) {
    ++counters_.bad_seal;
    const char* text = config_.key ? "it does not have this key" : "it has a key, and none is given";
    return Refused(Refuse{Refusal::kKey, hello_.nonce, text});
  }
  const Welcome& welcome = result.welcome;
  session_ = welcome.session;
  if (config_.key) keys_ = DeriveSessionKeys(*config_.key, hello_.nonce, welcome.server_nonce);
  if (counters_.sessions == 0 || welcome.order_seed != seed_) {
    uint32_t units = 0;
    for (const Lane& lane : lanes_) units = std::max(units, lane.shape.most_units());
    order_ = ElementOrder(units, welcome.order_seed);
    for (Lane& lane : lanes_) lane.shape.TakeOrder(order_);
  }
  seed_ = welcome.order_seed;
  in_flight_ = std::clamp<uint32_t>(welcome.frames_in_flight, 1, config_.in_flight);
  ++counters_.sessions;
  refusals_ = 0;
  state_ = State::kOpen;
  hello_ns_ = kNever;
  next_number_ = asked_ = 0;
  for (Lane& lane : lanes_) lane.parity.Forget();
  train_.Stop();
  probe_ns_ = kNever;
  for (uint64_t id = oldest_; id < sent_; ++id) {
    if (At(id).state == Frame::State::kOnItsWay) Restart(&At(id));
  }
}

void Session::HandleRefuse(const Header& header, const Refuse& refuse, int64_t now) {
  if (refuse.code == Refusal::kUnknownSession) {
    // The server was started anew: frames go again, in a new session.
    if (!open() || header.session != session_) return;
    Begin(now);
    other_way_ = true;
    return;
  }
  if (state_ != State::kHello || refuse.nonce != hello_.nonce) return;
  if (refuse.code == Refusal::kFull || refuse.code == Refusal::kStopping) {
    put_off_ = OneLine(refuse.text, kMaxFailureBytes);
    return;
  }
  Refused(refuse);
}

// A HELLO that was damaged on its way is refused too: over UDP, several must have been.
void Session::Refused(const Refuse& refuse) {
  if (refusals_ > 0 && hello_sent_ns_ == refused_hello_ns_) return;
  refused_hello_ns_ = hello_sent_ns_;
  if (++refusals_ < kRefusalsOverUdp && config_.transport != Transport::kTcp) return;
  refused_ = refuse;
  refused_->text = OneLine(refuse.text, kMaxFailureBytes);
}

}  // namespace splitc
