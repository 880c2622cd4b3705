// SPDX-License-Identifier: Apache-2.0
//
// The head runs here while the frames before are on their way.

#include "send.h"

#include <signal.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "connection.h"
#include "json.h"
#include "pool.h"
#include "results.h"
#include "samples.h"
#include "steering.h"
#include "text.h"
#include "timings.h"

namespace splitc {
namespace {

constexpr int64_t kMaxFrames = 1000000000;

double Milliseconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-6; }
int64_t Nanoseconds(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

void FillRandom(void* bytes, size_t count) {
  if (getrandom(bytes, count, 0) != static_cast<ssize_t>(count)) {
    FailPlainly("splitc-run: the system gives no random bytes\n");
  }
}

std::vector<SessionRoute> SessionRoutes(const HeadParts& parts, const Results& results) {
  std::vector<SessionRoute> routes;
  for (const Remote& remote : parts.routes()) {
    SessionRoute& route = routes.emplace_back();
    route.number = remote.route;
    route.result_bytes = results.answer_bytes(routes.size() - 1);
    for (size_t i = 0; i < remote.crosses.size(); ++i) {
      const TensorSpec& spec = remote.crosses[i];
      route.crosses.push_back({spec.dtype, spec.bytes, remote.missing[i]});
    }
  }
  return routes;
}

SessionConfig ConfigOf(const SendOptions& options, const HeadParts& parts, const Results& results,
                       bool wants_reports) {
  SessionConfig config;
  config.split = parts.parts()[0]->manifest().split_id();
  config.routes = SessionRoutes(parts, results);
  config.wants_reports = wants_reports;
  config.payload_bytes = options.mtu - kPacketOverhead;
  config.transport = options.transport;
  if (options.transport == Transport::kParity) config.parity_percent = options.parity_percent;
  config.deadline_ns = Nanoseconds(options.deadline_s);
  config.grace_ns = Nanoseconds(options.grace_s);
  config.silent_ns = Nanoseconds(options.silent_s);
  config.bandwidth_bps = options.bandwidth_bps;
  config.in_flight = options.in_flight;
  config.key = ReadKey(options.key);
  config.random = FillRandom;
  for (const SessionRoute& route : config.routes) {
    if (!Boundary::Fits(route.crosses, config.payload_bytes) ||
        (route.result_bytes + config.payload_bytes - 1) / config.payload_bytes > kMaxChunks) {
      Fail(ExitCode::kUsage, "--mtu", "a frame does not fit its packets: take a larger one");
    }
  }
  return config;
}

std::atomic<Connection*> to_stop{nullptr};

void OnSignal(int) {
  if (Connection* connection = to_stop.load()) connection->Stop();
}

// While it is there, signals that ask to end stop the connection, and no more.
class StopOnSignals {
 public:
  explicit StopOnSignals(Connection* connection) {
    to_stop.store(connection);
    struct sigaction action {};
    action.sa_handler = OnSignal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
  }
  ~StopOnSignals() {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    to_stop.store(nullptr);
  }
};

class Sender {
 public:
  Sender(const Options& options, const RouteChoice& choice, const HeadParts& parts)
      : options_(options),
        parts_(parts),
        inputs_(parts.parts()[0]->manifest().inputs),
        results_(parts),
        samples_(OpenSamples(inputs_, options.inputs)),
        outputs_(CreateOutputs(results_.specs(), samples_, options.out)),
        head_(parts),
        steering_(choice, parts.routes(), options.send),
        connection_(options.send.to,
                    ConfigOf(options.send, parts, results_, steering_.measures())),
        on_their_way_(options.send.in_flight),
        frames_(parts.routes().size()) {
    if (!options.send.whole.empty()) {
      whole_ = std::make_unique<Whole>(options.send.whole, inputs_, results_);
    }
    for (On& on : on_their_way_) on.results.resize(results_.bytes());
    last_.resize(results_.bytes());
  }

  Sent Run() {
    const int64_t total = samples_.count * options_.repeat;
    if (total > kMaxFrames) Fail(ExitCode::kUsage, "--repeat", "makes too many frames");
    {
      const StopOnSignals stop(&connection_);
      connection_.Open();
      if (steering_.WantsProbe(NowNanoseconds())) connection_.Probe();
      int64_t next = NowNanoseconds();
      for (int64_t i = 0; i < total && !connection_.stopped(); ++i) {
        if (options_.send.frames_per_s > 0) {
          connection_.SleepUntil(next);
          next = std::max(next, NowNanoseconds() - kSecond) +
                 Nanoseconds(1 / options_.send.frames_per_s);
        }
        SendOne(i);
        Listen();
      }
      while (Frame* frame = connection_.WaitForOldest()) Finish(frame);
    }
    const bool stopped = connection_.stopped();
    if (!stopped) {
      for (NpyWriter& output : outputs_) output.Commit();
    }
    return {Report(stopped), stopped ? ExitCode::kStopped : ExitCode::kOk};
  }

 private:
  // What is known here of a frame on its way.
  struct On {
    int64_t number = 0;
    int64_t start_ns = 0;
    std::vector<uint8_t> results;
  };

  On& At(int64_t number) {
    return on_their_way_[static_cast<size_t>(number) % on_their_way_.size()];
  }

  // Waits for room, runs the head, and sends what it made.
  void SendOne(int64_t number) {
    Listen();
    size_t route = 0;
    Frame* frame = nullptr;
    while (frame == nullptr) {
      if (connection_.full()) {
        Frame* oldest = connection_.WaitForOldest();
        if (oldest == nullptr) return;
        Finish(oldest);
      } else {
        // No sooner: what became of the frames before is known now.
        route = steering_.Choose(NowNanoseconds());
        frame = connection_.Take(route);
      }
    }
    On& on = At(number);
    on.number = number;
    LoadSample(samples_, number % samples_.count, inputs_, head_.first());
    on.start_ns = NowNanoseconds();
    const double ms = head_.Run(route);
    head_ms_.Add(ms);
    steering_.HeadRan(route, ms * 1e-3);
    Rest();  // What is sent now, and a tail on this machine, want the cores.
    results_.CopyOwn(route, &head_, on.results.data());
    const std::vector<TensorSpec>& crosses = parts_.routes()[route].crosses;
    for (size_t i = 0; i < crosses.size(); ++i) {
      std::copy_n(head_.Data(crosses[i]), crosses[i].bytes,
                  frame->tensors.data() + connection_.OffsetOf(route, i));
    }
    connection_.Send(frame);
    ++frames_[route];
    if (steering_.WantsProbe(NowNanoseconds())) connection_.Probe();
  }

  // Takes what is known of the frames before.
  void Listen() {
    while (Frame* frame = connection_.OldestDone()) Finish(frame);
    if (const auto bps = connection_.TakeBandwidth()) {
      steering_.Measured(*bps, NowNanoseconds());
    }
  }

  void Finish(Frame* frame) {
    On& on = At(finished_++);
    steering_.Ended(*frame);
    if (frame->state == Frame::State::kAnswered) {
      results_.CopyAnswer(frame->route, frame->answer.bytes(), on.results.data());
      last_ = on.results;
      has_last_ = true;
      ++by_server_;
      share_.Add(frame->share);
      link_tail_ms_.Add(Milliseconds(std::max<int64_t>(frame->done_ns - frame->sent_ns, 0)));
      frame_ms_.Add(Milliseconds(frame->done_ns - on.start_ns));
    } else {
      Substitute(*frame, &on);
      frame_ms_.Add(Milliseconds(NowNanoseconds() - on.start_ns));
    }
    connection_.Release(frame);
    if (on.number >= samples_.count) return;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      outputs_[i].Append(&on.results[results_.OffsetOf(i)], results_.specs()[i].bytes);
    }
  }

  // What the user chose for a frame that the server does not answer.
  void Substitute(const Frame& frame, On* on) {
    if (whole_) {
      const int64_t start = NowNanoseconds();
      whole_->Run(samples_, on->number % samples_.count, results_, on->results.data());
      whole_ms_.Add(Milliseconds(NowNanoseconds() - start));
      ++by_whole_;
      return;
    }
    if (options_.send.when_silent == WhenSilent::kLast && has_last_) {
      results_.CopyInstead(frame.route, last_.data(), on->results.data());
      ++by_last_;
      return;
    }
    const bool failed = frame.state == Frame::State::kFailed;
    Fail(ExitCode::kNetwork, options_.send.to,
         failed ? "the tail failed: " + frame.failure
                : "no answer to frame " + Decimal(on->number) + " in " +
                      Decimal(Nanoseconds(options_.send.silent_s) / kMillisecond) + " ms");
  }

  std::string Report(bool stopped) {
    static constexpr const char* kTransports[] = {"udp", "resend", "parity", "tcp"};
    const Counters c = connection_.counters();
    std::string json = "{\"schema\":1,\"part\":" + JsonQuote(parts_.parts()[0]->manifest().part) +
                       ",\"to\":" + JsonQuote(options_.send.to) + ",\"transport\":\"" +
                       kTransports[static_cast<int>(options_.send.transport)] + "\"";
    const std::pair<const char*, uint64_t> counts[] = {
        {"frames", c.frames},
        {"answered", c.answered},
        {"silent", c.silent},
        {"failed", c.failed},
        {"late", c.late},
        {"packets_sent", c.packets_sent},
        {"packets_resent", c.packets_resent},
        {"packets_received", c.packets_received},
        {"duplicate", c.duplicate},
        {"malformed", c.malformed},
        {"bad_seal", c.bad_seal},
        {"nacks", c.nacks},
        {"sessions", c.sessions},
        {"bytes_sent", c.bytes_sent},
        {"bytes_received", c.bytes_received}};
    for (const auto& [key, count] : counts) {
      json += std::string(",\"") + key + "\":" + Decimal(count);
    }
    json += ",\"sources\":{\"server\":" + Decimal(by_server_) + ",\"last\":" + Decimal(by_last_) +
            ",\"whole\":" + Decimal(by_whole_) + "}";
    json += RoutesMember();
    json += NumberMember("share_p50", share_.Percentile(0.5));
    json += NumberMember("load_ms", head_.load_ms());
    json += Percentiles("head_ms", &head_ms_) + Percentiles("link_tail_ms", &link_tail_ms_) +
            Percentiles("whole_ms", &whole_ms_) + Percentiles("frame_ms", &frame_ms_);
    json += ",\"threads\":" + Decimal(Threads());
    json += std::string(",\"stopped\":") + (stopped ? "true" : "false");
    json += OutputsMember(results_.specs(), samples_, !options_.out.empty() && !stopped);
    return json + "}";
  }

  // How many frames took each route, of those that any took.
  std::string RoutesMember() const {
    std::string members;
    for (size_t i = 0; i < frames_.size(); ++i) {
      if (frames_[i] == 0) continue;
      members += "," + JsonQuote(parts_.routes()[i].name) + ":" + Decimal(frames_[i]);
    }
    return ",\"routes\":{" + (members.empty() ? members : members.substr(1)) +
           "},\"switches\":" + Decimal(steering_.switches());
  }

  static std::string Percentiles(const char* key, Timings* timings) {
    std::string members = NumberMember("p50", timings->Percentile(0.5)) +
                          NumberMember("p95", timings->Percentile(0.95)) +
                          NumberMember("p99", timings->Percentile(0.99));
    return std::string(",\"") + key + "\":{" + members.substr(1) + "}";
  }

  const Options& options_;
  const HeadParts& parts_;
  const std::vector<TensorSpec>& inputs_;
  Results results_;
  Samples samples_;
  std::vector<NpyWriter> outputs_;
  Head head_;
  std::unique_ptr<Whole> whole_;
  Steering steering_;
  Connection connection_;
  std::vector<On> on_their_way_;  // by number
  int64_t finished_ = 0;
  std::vector<uint64_t> frames_;  // by route
  std::vector<uint8_t> last_;  // results
  bool has_last_ = false;
  uint64_t by_server_ = 0, by_last_ = 0, by_whole_ = 0;
  Timings share_, head_ms_, link_tail_ms_, whole_ms_, frame_ms_;
};

}  // namespace

Sent SendFrames(const Options& options, const RouteChoice& choice, const HeadParts& parts) {
  parts.CheckCpus();
  SetThreads(static_cast<int>(options.threads));
  return Sender(options, choice, parts).Run();
}

}  // namespace splitc
