// SPDX-License-Identifier: Apache-2.0
//
// The thread, and who waits for it.

#include "connection.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "error.h"

namespace splitc {
namespace {

constexpr int64_t kFirstContact = 5 * kSecond;
constexpr int64_t kFirstReconnect = 100 * kMillisecond;
constexpr int64_t kLastReconnect = kSecond;
constexpr int64_t kConnectTimeout = kSecond;
constexpr int64_t kTick = kMillisecond;
constexpr size_t kThreadStack = 256 << 10;

class Locked {
 public:
  explicit Locked(pthread_mutex_t* lock) : lock_(lock) { pthread_mutex_lock(lock_); }
  ~Locked() { pthread_mutex_unlock(lock_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  pthread_mutex_t* lock_;
};

timespec AsTimespec(int64_t nanoseconds) {
  return {static_cast<time_t>(nanoseconds / kSecond), static_cast<long>(nanoseconds % kSecond)};
}

const char* Meaning(Refusal code) {
  switch (code) {
    case Refusal::kVersion: return "another version of packets";
    case Refusal::kBundle: return "another bundle";
    case Refusal::kKey: return "wrong key";
    default: return "a bad request";
  }
}

}  // namespace

int64_t NowNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

Connection::Connection(const std::string& to, const SessionConfig& config)
    : to_(to),
      tcp_(config.transport == Transport::kTcp),
      addresses_(FindAddresses(to, tcp_)),
      alarm_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      session_(config),
      carrier_(tcp_, session_.packet_bytes()),
      out_(session_.packet_bytes()),
      in_(session_.packet_bytes()) {
  pthread_mutex_init(&lock_, nullptr);
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_cond_init(&changed_, &clock);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStack);
  // Signals are for the thread that the program began with.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&thread_, &attributes, Run, this) != 0) {
    Fail(ExitCode::kOther, "thread", "cannot start one");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Connection::~Connection() {
  {
    const Locked locked(&lock_);
    leaving_ = true;
    if (carrier_.fd() >= 0 && out_.empty()) {
      out_.sizes[0] = session_.SayGoodbye(out_.Packet(0));
      out_.first = 0;
      out_.count = out_.sizes[0] > 0 ? 1 : 0;
      carrier_.Send(&out_);
    }
  }
  Wake();
  pthread_join(thread_, nullptr);
}

void* Connection::Run(void* self) {
  static_cast<Connection*>(self)->Loop();
  return nullptr;
}

void Connection::Loop() {
  pthread_mutex_lock(&lock_);
  while (!leaving_) {
    const int64_t now = NowNanoseconds();
    if (carrier_.connecting() && now >= connect_ns_) Lost(now);
    const bool connected = carrier_.fd() >= 0 && !carrier_.connecting();
    if (tcp_ && connected && session_.wants_other_way()) Lost(now);
    if (carrier_.fd() < 0 && now >= connect_ns_) Connect(now);
    session_.Expire(now);
    Flush(now);
    pthread_cond_broadcast(&changed_);
    Await(WakeTime(now));
  }
  pthread_mutex_unlock(&lock_);
}

int64_t Connection::WakeTime(int64_t now) const {
  if (session_.refused()) return kNever;
  const int64_t wake = session_.NextWake();
  if (carrier_.fd() < 0 || carrier_.connecting()) {
    return std::min(connect_ns_, std::max(wake, now + kTick));
  }
  // What the socket does not take waits for it, and not for its time.
  return blocked_ ? std::max(wake, now + kTick) : wake;
}

// Sleeps with the lock given back until that time, or until the socket has something.
void Connection::Await(int64_t until) {
  const int fd = carrier_.fd();
  const bool writing = blocked_ || carrier_.connecting();
  planned_ns_ = until;
  pthread_mutex_unlock(&lock_);
  pollfd polled[] = {{alarm_.get(), POLLIN, 0},
                     {fd, static_cast<short>(POLLIN | (writing ? POLLOUT : 0)), 0}};
  const int64_t rest = until == kNever ? kSecond : until - NowNanoseconds();
  const timespec timeout = AsTimespec(std::clamp<int64_t>(rest, 0, kSecond));
  ppoll(polled, fd < 0 ? 1 : 2, &timeout, nullptr);
  pthread_mutex_lock(&lock_);
  planned_ns_ = 0;
  uint64_t rings;
  while (read(alarm_.get(), &rings, sizeof rings) > 0) continue;
  if (fd >= 0 && fd == carrier_.fd() && polled[1].revents != 0) Ready(polled[1].revents);
}

void Connection::Ready(int events) {
  const int64_t now = NowNanoseconds();
  if (carrier_.connecting()) {
    if (!carrier_.Connected()) return Lost(now);
    connect_wait_ns_ = 0;
    return session_.Begin(now);
  }
  if ((events & POLLOUT) != 0) blocked_ = false;
  Drain(now);
  // Nobody listens there: of several addresses, the next may be the server's.
  const bool never = session_.counters().sessions == 0;
  if (!tcp_ && never && carrier_.refused()) Lost(now);
}

void Connection::Connect(int64_t now) {
  const SocketAddress& address = addresses_[address_++ % addresses_.size()];
  connect_wait_ns_ = std::clamp(2 * connect_wait_ns_, kFirstReconnect, kLastReconnect);
  connect_ns_ = now + (tcp_ ? kConnectTimeout : connect_wait_ns_);
  blocked_ = false;
  out_.first = out_.count = 0;
  if (!carrier_.Connect(address)) return Lost(now);
  if (!carrier_.connecting()) session_.Begin(now);
}

// The way is gone: another is looked for after a while.
void Connection::Lost(int64_t now) {
  carrier_.Close();
  connect_ns_ = now + std::max(connect_wait_ns_, kFirstReconnect);
}

// Sends what is due, as far as the socket takes it.
void Connection::Flush(int64_t now) {
  if (carrier_.fd() < 0 || carrier_.connecting() || blocked_) return;
  for (;;) {
    if (out_.empty()) {
      out_.first = out_.count = 0;
      while (out_.count < Batch::kMost) {
        const size_t size = session_.Produce(now, out_.Packet(out_.count));
        if (size == 0) break;
        out_.sizes[out_.count++] = size;
      }
      if (out_.empty()) return;
    }
    const Carrier::Result result = carrier_.Send(&out_);
    blocked_ = result == Carrier::Result::kBlocked;
    if (result == Carrier::Result::kBroken) Lost(now);
    if (result != Carrier::Result::kSome) return;
  }
}

// Takes all that came.
void Connection::Drain(int64_t now) {
  for (;;) {
    const Carrier::Result result = carrier_.Receive(&in_);
    for (size_t i = 0; i < in_.count; ++i) session_.Handle(in_.Packet(i), in_.sizes[i], now);
    if (result == Carrier::Result::kBroken) Lost(now);
    if (result != Carrier::Result::kSome) return;
  }
}

void Connection::Wake() {
  const uint64_t one = 1;
  if (write(alarm_.get(), &one, sizeof one) < 0) return;  // it rings already
}

void Connection::Stop() {
  stopped_.store(true, std::memory_order_relaxed);
  Wake();
}

// With the lock: until something changed, or the moment has come. False at the moment.
bool Connection::WaitUntil(int64_t moment) {
  const timespec until = AsTimespec(moment);
  return pthread_cond_timedwait(&changed_, &lock_, &until) == 0;
}

void Connection::Open() {
  const Locked locked(&lock_);
  const int64_t limit = NowNanoseconds() + kFirstContact;
  while (!session_.open() && !stopped()) {
    FailIfRefused();
    if (WaitUntil(limit) || NowNanoseconds() < limit) continue;
    if (!session_.put_off().empty()) {
      Fail(ExitCode::kNetwork, to_, "the server refuses for now: " + session_.put_off());
    }
    const std::string& trouble = carrier_.trouble();
    Fail(ExitCode::kNetwork, to_,
         "no server answers" + (trouble.empty() ? std::string(" in 5 s") : ": " + trouble));
  }
}

void Connection::FailIfRefused() {
  if (!session_.refused()) return;
  const Refuse& refuse = *session_.refused();
  const bool bundle = refuse.code == Refusal::kBundle;
  Fail(bundle ? ExitCode::kBadInput : ExitCode::kNetwork, to_,
       std::string("the server refuses: ") + Meaning(refuse.code) +
           (refuse.text.empty() ? "" : " (" + refuse.text + ")"));
}

bool Connection::full() {
  const Locked locked(&lock_);
  return session_.full();
}

Frame* Connection::Take(size_t route) {
  const Locked locked(&lock_);
  return session_.Take(route);
}

// Sent from here and not from the thread, which would have to wake first.
void Connection::Send(Frame* frame) {
  const Locked locked(&lock_);
  const int64_t now = NowNanoseconds();
  session_.Send(frame, now);
  Flush(now);
  if (blocked_ || session_.NextWake() < planned_ns_) Wake();
}

Frame* Connection::WaitForOldest() {
  const Locked locked(&lock_);
  for (;;) {
    Frame* frame = session_.Oldest();
    if (frame == nullptr || frame->state != Frame::State::kOnItsWay) return frame;
    if (stopped()) return nullptr;
    FailIfRefused();
    WaitUntil(NowNanoseconds() + kSecond);
  }
}

uint64_t Connection::OffsetOf(size_t route, size_t tensor) {
  const Locked locked(&lock_);
  return session_.OffsetOf(route, tensor);
}

Frame* Connection::OldestDone() {
  const Locked locked(&lock_);
  Frame* frame = session_.Oldest();
  return frame == nullptr || frame->state == Frame::State::kOnItsWay ? nullptr : frame;
}

void Connection::Release(Frame* frame) {
  const Locked locked(&lock_);
  session_.Release(frame);
}

void Connection::SleepUntil(int64_t moment) {
  const Locked locked(&lock_);
  while (!stopped() && NowNanoseconds() < moment) WaitUntil(moment);
}

void Connection::Probe() {
  const Locked locked(&lock_);
  const int64_t now = NowNanoseconds();
  session_.Probe(now);
  Flush(now);
  if (blocked_ || session_.NextWake() < planned_ns_) Wake();
}

std::optional<double> Connection::TakeBandwidth() {
  const Locked locked(&lock_);
  return session_.TakeBandwidth();
}

Counters Connection::counters() {
  const Locked locked(&lock_);
  return session_.counters();
}

}  // namespace splitc
