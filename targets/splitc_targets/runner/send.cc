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
#include "cpu.h"
#include "json.h"
#include "model.h"
#include "pool.h"
#include "results.h"
#include "samples.h"
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

SessionConfig ConfigOf(const SendOptions& options, const Manifest& manifest,
                       uint64_t result_bytes) {
  const Remote& remote = manifest.remote.front();
  SessionConfig config;
  config.split = manifest.split;
  config.route = remote.route;
  for (size_t i = 0; i < remote.crosses.size(); ++i) {
    const TensorSpec& spec = remote.crosses[i];
    config.crosses.push_back({spec.dtype, spec.bytes, remote.missing[i]});
  }
  config.result_bytes = result_bytes;
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
  if (!Boundary::Fits(config.crosses, config.payload_bytes) ||
      (result_bytes + config.payload_bytes - 1) / config.payload_bytes > kMaxChunks) {
    Fail(ExitCode::kUsage, "--mtu", "a frame does not fit its packets: take a larger one");
  }
  return config;
}

const Remote& CheckedRemote(const Manifest& manifest) {
  if (manifest.remote.empty()) {
    Fail(ExitCode::kBadInput, manifest.part, "is no head: nothing says what it sends");
  }
  return manifest.remote.front();
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
  Sender(const Options& options, const Part& part)
      : options_(options),
        manifest_(part.manifest()),
        remote_(CheckedRemote(manifest_)),
        results_(manifest_, remote_),
        samples_(OpenSamples(manifest_.inputs, options.inputs)),
        outputs_(CreateOutputs(results_.specs(), samples_, options.out)),
        model_(part),
        connection_(options.send.to, ConfigOf(options.send, manifest_, results_.answer_bytes())),
        on_their_way_(options.send.in_flight) {
    if (!options.send.whole.empty()) {
      whole_ = std::make_unique<Whole>(options.send.whole, manifest_, results_);
    }
    for (On& on : on_their_way_) on.results.resize(results_.bytes());
    last_.resize(results_.answer_bytes());
  }

  Sent Run() {
    const int64_t total = samples_.count * options_.repeat;
    if (total > kMaxFrames) Fail(ExitCode::kUsage, "--repeat", "makes too many frames");
    {
      const StopOnSignals stop(&connection_);
      connection_.Open();
      int64_t next = NowNanoseconds();
      for (int64_t i = 0; i < total && !connection_.stopped(); ++i) {
        if (options_.send.frames_per_s > 0) {
          connection_.SleepUntil(next);
          next = std::max(next, NowNanoseconds() - kSecond) +
                 Nanoseconds(1 / options_.send.frames_per_s);
        }
        SendOne(i);
        while (Frame* frame = connection_.OldestDone()) Finish(frame);
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
    Frame* frame = connection_.Take();
    for (; frame == nullptr; frame = connection_.Take()) {
      Frame* oldest = connection_.WaitForOldest();
      if (oldest == nullptr) return;
      Finish(oldest);
    }
    On& on = At(number);
    on.number = number;
    LoadSample(samples_, number % samples_.count, manifest_.inputs, &model_);
    on.start_ns = NowNanoseconds();
    head_ms_.Add(model_.Run());
    Rest();  // What is sent now, and a tail on this machine, want the cores.
    results_.CopyOwn(model_, on.results.data());
    for (size_t i = 0; i < remote_.crosses.size(); ++i) {
      const TensorSpec& spec = remote_.crosses[i];
      std::copy_n(Crossing(spec.name), spec.bytes,
                  frame->tensors.data() + connection_.OffsetOf(i));
    }
    connection_.Send(frame);
  }

  const uint8_t* Crossing(const std::string& name) {
    for (size_t i = 0; i < manifest_.outputs.size(); ++i) {
      if (manifest_.outputs[i].name == name) {
        return static_cast<const uint8_t*>(model_.OutputData(i));
      }
    }
    size_t i = 0;
    while (manifest_.inputs[i].name != name) ++i;  // the manifest was checked: it is one of them
    return static_cast<const uint8_t*>(model_.InputData(i));
  }

  void Finish(Frame* frame) {
    On& on = At(finished_++);
    if (frame->state == Frame::State::kAnswered) {
      std::copy(frame->answer.bytes().begin(), frame->answer.bytes().end(), on.results.begin());
      last_ = frame->answer.bytes();
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
      std::copy(last_.begin(), last_.end(), on->results.begin());
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
    std::string json = "{\"schema\":1,\"part\":" + JsonQuote(manifest_.part) +
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
    json += NumberMember("share_p50", share_.Percentile(0.5));
    json += NumberMember("load_ms", model_.load_ms());
    json += Percentiles("head_ms", &head_ms_) + Percentiles("link_tail_ms", &link_tail_ms_) +
            Percentiles("whole_ms", &whole_ms_) + Percentiles("frame_ms", &frame_ms_);
    json += ",\"threads\":" + Decimal(Threads());
    json += std::string(",\"stopped\":") + (stopped ? "true" : "false");
    json += OutputsMember(results_.specs(), samples_, !options_.out.empty() && !stopped);
    return json + "}";
  }

  static std::string Percentiles(const char* key, Timings* timings) {
    std::string members = NumberMember("p50", timings->Percentile(0.5)) +
                          NumberMember("p95", timings->Percentile(0.95)) +
                          NumberMember("p99", timings->Percentile(0.99));
    return std::string(",\"") + key + "\":{" + members.substr(1) + "}";
  }

  const Options& options_;
  const Manifest& manifest_;
  const Remote& remote_;
  Results results_;
  Samples samples_;
  std::vector<NpyWriter> outputs_;
  Model model_;
  std::unique_ptr<Whole> whole_;
  Connection connection_;
  std::vector<On> on_their_way_;  // by number
  int64_t finished_ = 0;
  std::vector<uint8_t> last_;  // answer
  bool has_last_ = false;
  uint64_t by_server_ = 0, by_last_ = 0, by_whole_ = 0;
  Timings share_, head_ms_, link_tail_ms_, whole_ms_, frame_ms_;
};

}  // namespace

Sent SendPart(const Options& options, const Part& part) {
  const Manifest& manifest = part.manifest();
  CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  SetThreads(static_cast<int>(options.threads));
  return Sender(options, part).Run();
}

}  // namespace splitc
