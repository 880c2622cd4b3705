// SPDX-License-Identifier: Apache-2.0
//
// The processor cores that there are to compute on.

#ifndef SPLITC_RUNNER_CORES_H_
#define SPLITC_RUNNER_CORES_H_

#include <sched.h>

namespace splitc {

// Physical cores that this process may run on, each known by its first CPU: two hardware
// threads of one core share what a multiply-add runs on. Plain memory, for static storage.
struct Cores {
  int count = 0;
  int core[CPU_SETSIZE];     // `count` of them
  int core_of[CPU_SETSIZE];  // by CPU; -1 where this process may not run
};

void FindCores(Cores* cores);

// The CPUs of one core.
cpu_set_t CpusOf(const Cores& cores, int core);

}  // namespace splitc

#endif  // SPLITC_RUNNER_CORES_H_
