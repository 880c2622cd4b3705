// SPDX-License-Identifier: Apache-2.0
//
// A device's session with a server: which packet to send next, and what one that came means
// (docs/wire.md). Pure: no socket, no clock, no thread; times are nanoseconds of any clock
// that does not jump.

#ifndef SPLITC_RUNNER_SESSION_H_
#define SPLITC_RUNNER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "answer.h"
#include "handshake.h"
#include "parity_writer.h"
#include "report.h"
#include "train.h"
#include "wire.h"

namespace splitc {

inline constexpr int64_t kMillisecond = 1000000;
inline constexpr int64_t kSecond = 1000 * kMillisecond;
inline constexpr int64_t kNever = INT64_MAX;

// One of the routes that frames may take.
struct SessionRoute {
  uint16_t number = 0;  // in packets
  std::vector<Boundary::Tensor> crosses;
  uint64_t result_bytes = 0;
};

struct SessionConfig {
  uint64_t split = 0;
  std::vector<SessionRoute> routes;
  bool wants_reports = false;
  size_t payload_bytes = 0;
  Transport transport = Transport::kUdp;
  uint32_t parity_percent = 0;
  int64_t deadline_ns = 0;
  int64_t grace_ns = 0;
  int64_t silent_ns = 0;       // then a frame is given up
  double bandwidth_bps = 0;    // 0: as fast as the socket takes packets
  uint32_t in_flight = 1;
  std::optional<Key> key;
  void (*random)(void* bytes, size_t count) = nullptr;
};

struct Counters {
  uint64_t frames = 0, answered = 0, silent = 0, failed = 0, late = 0;
  uint64_t packets_sent = 0, packets_resent = 0, packets_received = 0;
  uint64_t duplicate = 0, malformed = 0, bad_seal = 0, nacks = 0, sessions = 0;
  uint64_t bytes_sent = 0, bytes_received = 0;
};

// A frame from being taken to being released, by its sender.
struct Frame {
  enum class State { kFree, kTaken, kOnItsWay, kAnswered, kFailed, kSilent };

  State state = State::kFree;
  size_t route = 0;              // its place among the session's
  std::vector<uint8_t> tensors;  // as its Boundary has them
  AnswerPieces answer;
  std::optional<Report> report;
  std::string failure;  // what the server says
  double share = 0;     // of elements that came, says the server
  int64_t sent_ns = kNever;  // its last chunk
  int64_t done_ns = 0;

  uint32_t number = 0;  // in this session
  uint32_t next_chunk = 0;
  uint32_t next_parity = 0;
  bool heard = false;  // anything of it came back
  int64_t give_up_ns = kNever;
  int64_t ask_ns = kNever;  // when to ask for what is missing
  int64_t ask_wait_ns = 0;
  bool asked = false;
  bool ask_now = false;
  std::vector<bool> resend;
  std::vector<uint32_t> turns;   // each chunk's place among all that left or wait
  uint32_t last_turn = 0;        // the last of those
  uint32_t lacked = UINT32_MAX;  // chunks that the server lacked when it last asked
  bool trickles = false;         // it asked for many when next to none had come since
  uint32_t resends = 0;          // that wait
  uint32_t resends_left = 0;  // that may be asked for
};

class Session {
 public:
  explicit Session(const SessionConfig& config);

  // Says HELLO from now on: also where the way to the server is a new one.
  void Begin(int64_t now);
  // Whether another connection should be tried, where there are connections.
  bool wants_other_way() const { return other_way_; }
  bool open() const { return state_ == State::kOpen; }
  // Why there will be no session: a server's refusal, its text for people.
  const std::optional<Refuse>& refused() const { return refused_; }
  // The last refusal that may pass: the server is full or stopping.
  const std::string& put_off() const { return put_off_; }

  // Frames are taken, sent and released in one order, at most `in_flight` at a time.
  uint32_t in_flight() const { return in_flight_; }
  bool full() const { return taken_ - oldest_ >= in_flight_; }
  // Room for the next frame on a route, to be filled and then sent; null where it is full.
  Frame* Take(size_t route);
  void Send(Frame* frame, int64_t now);
  // The oldest frame that is not released; null where there is none.
  Frame* Oldest();
  void Release(Frame* frame);
  // Where a tensor lies in those of a frame on that route.
  uint64_t OffsetOf(size_t route, size_t tensor) const {
    return lanes_[route].shape.Offset(tensor);
  }

  // Sends a train of probes as soon as no frame is on its way, and after a while in any case;
  // unless one is on its way.
  void Probe(int64_t now);
  // The bandwidth that a train told since this was asked last; in bits a second.
  std::optional<double> TakeBandwidth() { return std::exchange(bandwidth_bps_, std::nullopt); }

  // Writes the next packet that is due, for which there is room for `packet_bytes()`.
  // Returns its size, 0 for none.
  size_t Produce(int64_t now, uint8_t* packet);
  // The largest packet that is sent or taken.
  size_t packet_bytes() const;
  // When Produce or Expire have something to do that they have not now.
  int64_t NextWake() const;
  // Gives up frames whose time has come.
  void Expire(int64_t now);
  // What came; the bytes are opened in place.
  void Handle(uint8_t* packet, size_t size, int64_t now);
  // The last packet, where there is a session; the size, 0 for none.
  size_t SayGoodbye(uint8_t* packet);

  const Counters& counters() const { return counters_; }
  Counters& counters() { return counters_; }

 private:
  enum class State { kIdle, kHello, kOpen };

  // What it takes to send on a route.
  struct Lane {
    Lane(const SessionRoute& route, const SessionConfig& config);

    uint16_t number;
    uint64_t result_bytes;
    Boundary shape;  // in the order of the session's seed
    ParityWriter parity;
    uint32_t answer_chunks;
    int64_t answer_mean_ns = 0;  // from a frame's last chunk to its answer
    int64_t answer_spread_ns = 0;
  };

  size_t ProduceHello(int64_t now, uint8_t* packet);
  size_t ProduceNack(Frame* frame, uint8_t* packet);
  size_t ProduceChunk(Frame* frame, uint64_t id, int64_t now, uint8_t* packet);
  size_t ProduceResend(Frame* frame, int64_t now, uint8_t* packet);
  bool idle() const;
  size_t ProduceProbe(int64_t now, uint8_t* packet);
  size_t WriteData(const Frame& frame, uint32_t chunk, uint8_t* packet);
  size_t Seal(const Header& header, uint8_t* packet, size_t size);
  size_t Count(size_t size);
  // How long a packet's bytes keep the link busy that is sent no faster than; 0 without one.
  double PacketSeconds(size_t size) const;
  void Pace(size_t size, int64_t now);
  void Restart(Frame* frame);
  void StartAsking(Frame* frame, int64_t now);
  void Ask(Frame* frame, int64_t now);
  void Resend(Frame* frame, uint32_t chunk);
  bool HasChunks(const Frame& frame) const;

  void HandleGreeting(const Header& header, const uint8_t* packet, size_t size, int64_t now);
  void HandleOpened(const Header& header, const uint8_t* data, size_t size, int64_t now);
  void Welcomed(const ReadWelcomeResult& result);
  void Refused(const Refuse& refuse);
  void HandleRefuse(const Header& header, const Refuse& refuse, int64_t now);
  void HandleAnswer(Frame* frame, const Header& header, const uint8_t* data, size_t size,
                    int64_t now);
  void HandleReport(Frame* frame, const Header& header, const uint8_t* data, size_t size);
  void HandleEcho(const Header& header, const uint8_t* data, size_t size, int64_t now);
  void EndTrain();
  void HandleNack(Frame* frame, const Header& header, const uint8_t* bitmap, size_t size,
                  int64_t now);
  void HandleFail(Frame* frame, const uint8_t* text, size_t size, int64_t now);
  Frame* FrameOf(const Header& header);
  Lane& LaneOf(const Frame& frame) { return lanes_[frame.route]; }
  const Lane& LaneOf(const Frame& frame) const { return lanes_[frame.route]; }
  Frame& At(uint64_t id) { return frames_[id % frames_.size()]; }
  const Frame& At(uint64_t id) const { return frames_[id % frames_.size()]; }
  Header HeaderOf(PacketKind kind, const Frame& frame) const;

  SessionConfig config_;
  std::vector<Lane> lanes_;
  uint64_t seed_ = 0;
  std::vector<uint32_t> order_;  // of the route whose tensors have most units

  State state_ = State::kIdle;
  Hello hello_;
  int64_t hello_ns_ = kNever;
  uint32_t hellos_ = 0;
  bool other_way_ = false;
  int64_t hello_sent_ns_ = 0;
  std::optional<Refuse> refused_;
  uint32_t refusals_ = 0;  // of so many HELLOs, the last of which was sent then
  int64_t refused_hello_ns_ = 0;
  std::string put_off_;
  uint64_t session_ = 0;
  std::optional<SessionKeys> keys_;

  Train train_;
  int64_t probe_ns_ = kNever;  // when a train that is wanted goes in any case
  std::optional<double> bandwidth_bps_;

  std::vector<Frame> frames_;
  uint32_t in_flight_;
  uint64_t oldest_ = 0;  // frames by their running number
  uint64_t taken_ = 0;
  uint64_t sent_ = 0;
  uint32_t next_number_ = 0;
  uint32_t asked_ = 0;  // NACKs of this session
  int64_t pace_ns_ = 0;
  int64_t round_trip_ns_ = kSecond;
  Counters counters_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_SESSION_H_
