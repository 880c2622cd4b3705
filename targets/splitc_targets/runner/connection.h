// SPDX-License-Identifier: Apache-2.0
//
// A session over a socket: a thread of its own sends and receives while the caller computes.

#ifndef SPLITC_RUNNER_CONNECTION_H_
#define SPLITC_RUNNER_CONNECTION_H_

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "carrier.h"
#include "session.h"

namespace splitc {

// Nanoseconds since some moment.
int64_t NowNanoseconds();

class Connection {
 public:
  // Fails (kUsage, kNetwork) where the text names no address.
  Connection(const std::string& to, const SessionConfig& config);
  // Says BYE and ends the thread.
  ~Connection();

  // Waits for a session. Fails (kNetwork, or kBadInput where the server has another bundle)
  // with why there is none.
  void Open();

  // Whether the oldest frame must be released before another is taken.
  bool full();
  // As Session's.
  Frame* Take(size_t route);
  void Send(Frame* frame);
  // Waits until the oldest frame is no longer on its way; null where there is none, or where
  // `Stop` was called.
  Frame* WaitForOldest();
  // The oldest frame if it is done.
  Frame* OldestDone();
  void Release(Frame* frame);
  uint64_t OffsetOf(size_t route, size_t tensor);

  // Ends all waiting, from a signal's handler too.
  void Stop();
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  // Waits for a moment, or until `Stop`.
  void SleepUntil(int64_t moment);

  // As Session's.
  void Probe();
  std::optional<double> TakeBandwidth();

  Counters counters();

 private:
  static void* Run(void* self);
  void Loop();
  int64_t WakeTime(int64_t now) const;
  void Await(int64_t until);
  void Ready(int events);
  void Connect(int64_t now);
  void Flush(int64_t now);
  void Drain(int64_t now);
  void Lost(int64_t now);
  void Wake();
  bool WaitUntil(int64_t moment);
  void FailIfRefused();

  const std::string to_;
  const bool tcp_;
  std::vector<SocketAddress> addresses_;
  size_t address_ = 0;

  pthread_mutex_t lock_;
  pthread_cond_t changed_;
  pthread_t thread_;
  UniqueFd alarm_;  // wakes the thread
  std::atomic<bool> stopped_{false};

  // All of this under the lock.
  Session session_;
  Carrier carrier_;
  Batch out_;
  Batch in_;
  bool blocked_ = false;  // until the socket takes more
  bool leaving_ = false;
  int64_t planned_ns_ = 0;  // when the thread wakes by itself
  int64_t connect_ns_ = 0;
  int64_t connect_wait_ns_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_CONNECTION_H_
