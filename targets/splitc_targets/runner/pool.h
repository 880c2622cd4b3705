// SPDX-License-Identifier: Apache-2.0
//
// The threads that parallel loops of compiled code run on.

#ifndef SPLITC_RUNNER_POOL_H_
#define SPLITC_RUNNER_POOL_H_

#include "host.h"

namespace splitc {

inline constexpr int kMostThreads = 256;

// How many threads take part in a loop, the caller's among them; 0 for one a core. Settled
// by the first loop: returns false, and does nothing, after that.
bool SetThreads(int threads);

// The number settled, or that will be. It is what SetThreads was given, or what
// SPLITC_NUM_THREADS or OMP_NUM_THREADS says, or one a core.
int Threads();

// As SplitcHost::launch. There is one set of threads a process, for every model in it. Who
// finds it taken by another caller, or calls from within a loop, runs alone: as many calls at
// a time as there are cores keep them all busy, and more threads would only wait.
int Launch(SplitcTask task, void* data, int tasks);

// Has the threads sleep that watch for the next loop: the caller knows that none follows at
// once, and that others want the cores. The next loop wakes them.
void Rest();

}  // namespace splitc

#endif  // SPLITC_RUNNER_POOL_H_
