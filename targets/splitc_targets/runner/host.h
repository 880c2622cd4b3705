/* SPDX-License-Identifier: Apache-2.0
 *
 * What compiled code asks of the process that runs it: threads, scratch memory, and to be
 * told why it fails. A loader writes this table into the model's `splitc_host`
 * (model_host.c) before it calls anything there. Plain C: it is an interface between files
 * that are built apart.
 */

#ifndef SPLITC_RUNNER_HOST_H_
#define SPLITC_RUNNER_HOST_H_

#include <stdint.h>

/* How many tasks share a loop; the first member is for barriers, which no code here has. */
typedef struct {
  void* barrier;
  int32_t tasks;
} SplitcGroup;

/* One share of a parallel loop, `number` of `group->tasks`. Other than 0: it failed. */
typedef int (*SplitcTask)(int number, SplitcGroup* group, void* data);

typedef struct {
  /* Runs `tasks` shares of a loop, 0 for one a thread, and returns when all have ended. */
  int (*launch)(SplitcTask task, void* data, int tasks);
  /* Scratch memory of this thread, aligned to 64 bytes; null where there is none left. */
  void* (*borrow)(uint64_t bytes);
  void (*give_back)(void* memory);
  /* Why the call that this thread is in will return other than 0. */
  void (*fail)(const char* kind, const char* const* parts, int32_t count);
} SplitcHost;

#endif /* SPLITC_RUNNER_HOST_H_ */
