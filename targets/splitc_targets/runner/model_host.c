/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked into every model: the functions that TVM's code generator calls, handed on to the
 * table that the loader wrote. So a model needs no library of TVM's, and two of them in one
 * process share no symbol, neither with each other nor with TVM if that is there too.
 */

#include "host.h"

#define HIDDEN __attribute__((visibility("hidden")))
#define SHOWN __attribute__((visibility("default")))

SHOWN SplitcHost splitc_host;

HIDDEN int TVMBackendParallelLaunch(SplitcTask task, void* data, int tasks) {
  return splitc_host.launch(task, data, tasks);
}

/* The device and the element type are of no concern: all memory is the processor's. */
HIDDEN void* TVMBackendAllocWorkspace(int type, int id, uint64_t bytes, int code, int bits) {
  return splitc_host.borrow(bytes);
}

HIDDEN int TVMBackendFreeWorkspace(int type, int id, void* memory) {
  splitc_host.give_back(memory);
  return 0;
}

HIDDEN void TVMFFIErrorSetRaisedFromCStr(const char* kind, const char* message) {
  splitc_host.fail(kind, &message, 1);
}

HIDDEN void TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts,
                                              int32_t count) {
  splitc_host.fail(kind, (const char* const*)parts, count);
}

/* A model calls some of them through variables of its own, which are weak and empty there. */
SHOWN int (*__TVMBackendParallelLaunch)(SplitcTask, void*, int) = TVMBackendParallelLaunch;
SHOWN void* (*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = TVMBackendAllocWorkspace;
SHOWN int (*__TVMBackendFreeWorkspace)(int, int, void*) = TVMBackendFreeWorkspace;
SHOWN void (*__TVMFFIErrorSetRaisedFromCStr)(const char*, const char*) =
    TVMFFIErrorSetRaisedFromCStr;
SHOWN void (*__TVMFFIErrorSetRaisedFromCStrParts)(const char*, const char**, int32_t) =
    TVMFFIErrorSetRaisedFromCStrParts;
