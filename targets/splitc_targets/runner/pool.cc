// SPDX-License-Identifier: Apache-2.0
//
// A loop of a network takes microseconds, and the next follows at once: so workers watch for
// it a while before they sleep, and whoever waits for them watches too. Each has a word of
// memory of its own to watch; the kernel is asked only to put one to sleep or to wake it.
//
// On a machine that is busy with other things a worker may not get to run: a share that it has
// not begun when the caller is done with its own is the caller's.
//
// Each also has a core of its own, where there are as many, and none has the caller's: left to
// the kernel, a busy machine runs a worker where it was woken, in turns with whom it works for.

#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "cores.h"

namespace splitc {
namespace {

// What a worker's word says.
enum : uint32_t { kIdle, kAsleep, kWork, kBusy };

// Looks at memory between two offers of the CPU to others, and how many of these before a
// worker sleeps: about a millisecond where nobody wants the CPU.
constexpr int kLooks = 10;
constexpr int kOffers = 2000;

struct alignas(64) Worker {
  std::atomic<uint32_t> word{kIdle};
  int number = 0;
  int core = 0;
  pthread_t thread{};
};

struct Loop {
  SplitcTask task = nullptr;
  void* data = nullptr;
  SplitcGroup group{};
};

Worker workers[kMostThreads - 1];
int worker_count = -1;  // of running ones; before the first loop there are none
int wanted_threads = 0;
int caller_core = -1;
Cores cores;
Loop loop;
alignas(64) std::atomic<int> pending{0};
std::atomic<bool> failed{false};
std::atomic<bool> taken{false};
std::atomic<bool> resting{false};

void Look() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}

void Futex(std::atomic<uint32_t>* word, int operation, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), operation, value, nullptr, nullptr, 0);
}

// Takes a share that nobody has begun.
bool Claim(std::atomic<uint32_t>* word, uint32_t becomes) {
  uint32_t work = kWork;
  return word->load(std::memory_order_relaxed) == kWork &&
         word->compare_exchange_strong(work, becomes, std::memory_order_acq_rel);
}

void Sleep(std::atomic<uint32_t>* word) {
  uint32_t idle = kIdle;
  if (!word->compare_exchange_strong(idle, kAsleep, std::memory_order_acq_rel)) return;
  while (word->load(std::memory_order_relaxed) == kAsleep) {
    Futex(word, FUTEX_WAIT_PRIVATE, kAsleep);
  }
}

void AwaitWork(std::atomic<uint32_t>* word) {
  for (;; Sleep(word)) {
    for (int offers = 0; offers < kOffers && !resting.load(std::memory_order_relaxed); ++offers) {
      for (int looks = 0; looks < kLooks; ++looks) {
        if (Claim(word, kBusy)) return;
        Look();
      }
      sched_yield();
    }
  }
}

void* Work(void* self) {
  Worker& worker = *static_cast<Worker*>(self);
  for (;;) {
    AwaitWork(&worker.word);
    if (loop.task(worker.number, &loop.group, loop.data) != 0) {
      failed.store(true, std::memory_order_relaxed);
    }
    // In this order: the next loop begins when nothing is pending.
    worker.word.store(kIdle, std::memory_order_relaxed);
    pending.fetch_sub(1, std::memory_order_release);
  }
  return nullptr;
}

int FromEnvironment(const char* name) {
  const char* text = std::getenv(name);
  const long value = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return value < 1 ? 0 : value > kMostThreads ? kMostThreads : static_cast<int>(value);
}

void Bind(Worker* worker, int core) {
  const cpu_set_t cpus = CpusOf(cores, core);
  worker->core = core;
  pthread_setaffinity_np(worker->thread, sizeof cpus, &cpus);
}

// The worker on the core that the caller has come to goes where the caller was.
void MakeWay() {
  const int cpu = sched_getcpu();
  const int core = cpu >= 0 && cpu < CPU_SETSIZE ? cores.core_of[cpu] : -1;
  if (core < 0 || core == caller_core) return;
  for (int i = 0; i < worker_count; ++i) {
    if (workers[i].core == core) Bind(&workers[i], caller_core);
  }
  caller_core = core;
}

// A child has none of its parent's threads.
void ForgetThreads() {
  worker_count = -1;
  for (Worker& worker : workers) worker.word.store(kIdle, std::memory_order_relaxed);
  pending.store(0, std::memory_order_relaxed);
  taken.store(false, std::memory_order_relaxed);
}

// Signals are for the threads that the program knows of. Where a thread cannot be had, fewer
// take part.
void Start() {
  static bool watches_forks = false;
  if (!watches_forks) pthread_atfork(nullptr, nullptr, ForgetThreads);
  watches_forks = true;
  FindCores(&cores);
  caller_core = -1;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int count = Threads() - 1;
  for (worker_count = 0; worker_count < count; ++worker_count) {
    Worker& worker = workers[worker_count];
    worker.number = worker_count + 1;
    if (pthread_create(&worker.thread, nullptr, Work, &worker) != 0) break;
    pthread_detach(worker.thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (worker_count >= cores.count) return;
  caller_core = cores.core[0];
  for (int i = 0; i < worker_count; ++i) Bind(&workers[i], cores.core[i + 1]);
}

int Alone(SplitcTask task, void* data, int tasks) {
  SplitcGroup group{nullptr, tasks > 0 ? tasks : 1};
  int result = 0;
  for (int number = 0; number < group.tasks; ++number) {
    if (task(number, &group, data) != 0) result = -1;
  }
  return result;
}

int Together(SplitcTask task, void* data, int tasks) {
  if (caller_core >= 0) MakeWay();
  resting.store(false, std::memory_order_relaxed);
  loop = Loop{task, data, {nullptr, tasks}};
  pending.store(tasks - 1, std::memory_order_relaxed);
  failed.store(false, std::memory_order_relaxed);
  for (int i = 0; i < tasks - 1; ++i) {
    std::atomic<uint32_t>& word = workers[i].word;
    if (word.exchange(kWork, std::memory_order_acq_rel) == kAsleep) {
      Futex(&word, FUTEX_WAKE_PRIVATE, 1);
    }
  }
  int own = task(0, &loop.group, data);
  // A worker that the kernel does not let run has not begun: its share is done here.
  for (int i = 0; i < tasks - 1; ++i) {
    if (!Claim(&workers[i].word, kIdle)) continue;
    if (task(workers[i].number, &loop.group, data) != 0) own = -1;
    pending.fetch_sub(1, std::memory_order_relaxed);
  }
  for (int looks = 1; pending.load(std::memory_order_acquire) != 0; ++looks) {
    if (looks % kLooks == 0) {
      sched_yield();
    } else {
      Look();
    }
  }
  return own != 0 || failed.load(std::memory_order_relaxed) ? -1 : 0;
}

}  // namespace

bool SetThreads(int threads) {
  if (worker_count >= 0) return false;
  wanted_threads = threads < kMostThreads ? threads : kMostThreads;
  return true;
}

int Threads() {
  if (worker_count >= 0) return worker_count + 1;
  int threads = wanted_threads;
  if (threads < 1) threads = FromEnvironment("SPLITC_NUM_THREADS");
  if (threads < 1) threads = FromEnvironment("OMP_NUM_THREADS");
  if (threads < 1) {
    FindCores(&cores);
    threads = cores.count;
  }
  return threads < kMostThreads ? threads : kMostThreads;
}

int Launch(SplitcTask task, void* data, int tasks) {
  if (taken.exchange(true, std::memory_order_acquire)) return Alone(task, data, tasks);
  if (worker_count < 0) Start();
  const int threads = worker_count + 1;
  if (tasks == 0) tasks = threads;
  const int result = tasks > 1 && tasks <= threads ? Together(task, data, tasks)
                                                   : Alone(task, data, tasks);
  taken.store(false, std::memory_order_release);
  return result;
}

void Rest() { resting.store(true, std::memory_order_relaxed); }

}  // namespace splitc
