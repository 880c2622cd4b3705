/* SPDX-License-Identifier: Apache-2.0
 *
 * What a part for a graphics processor has in the place of a processor's code: the functions
 * that its loader calls. `prepare` opens the device and brings the weights there once; `main`
 * copies inputs and results and no more. Calls come one after another: a device that is shared
 * gains nothing by two.
 */

#define _POSIX_C_SOURCE 200809L /* for clock_gettime */

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host.h"
#include "program.h"
#include "tvm/ffi/c_api.h"

#define SHOWN __attribute__((visibility("default")))

extern SplitcHost splitc_host;

typedef struct State {
  struct State* next;
  void* device;
  void* weights;
  void* arena;
  void** inputs;
  void** outputs;
} State;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static State* states;

void SplitcSay(const char* const* parts) {
  int count = 0;
  while (parts[count] != NULL) ++count;
  splitc_host.fail("", parts, count);
}

int SplitcRefuse(const char* what, const char* why) {
  const char* parts[] = {what, ": ", why, NULL};
  SplitcSay(parts);
  return -1;
}

int SplitcOpenDriver(const char* library, const SplitcSymbol* symbols, uint32_t count,
                     const char* none, const char* old) {
  static int opened;
  if (opened) return 0;
  void* found = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
  if (found == NULL) {
    const char* parts[] = {none, ": ", library, " cannot be opened", NULL};
    SplitcSay(parts);
    return -1;
  }
  for (uint32_t i = 0; i < count; ++i) {
    *symbols[i].place = dlsym(found, symbols[i].name);
    if (*symbols[i].place == NULL) return SplitcRefuse(old, symbols[i].name);
  }
  opened = 1;
  return 0;
}

static int Say(const char* why) {
  const char* parts[] = {why, NULL};
  SplitcSay(parts);
  return -1;
}

/* The memory that a tensor argument lies in, and its bytes. */
static void* DataOf(const TVMFFIAny* any) {
  const DLTensor* tensor = (const DLTensor*)any->v_ptr;
  if (any->type_index != kTVMFFIDLTensorPtr) {
    tensor = (const DLTensor*)((const char*)any->v_ptr + sizeof(TVMFFIObject));
  }
  return (char*)tensor->data + tensor->byte_offset;
}

/* Which of the driver's devices is asked for; a name of another driver's is not for this part. */
static int DeviceNumber(void) {
  const char* name = getenv("SPLITC_DEVICE");
  const size_t length = strlen(splitc_driver.api);
  if (name == NULL || strncmp(name, splitc_driver.api, length) != 0) return 0;
  return name[length] == ':' ? atoi(name + length + 1) : 0;
}

static int ReserveAll(void* device, uint32_t count, const uint64_t* bytes, void*** held) {
  *held = calloc(count > 0 ? count : 1, sizeof **held);
  if (*held == NULL) return Say("there is no memory left");
  for (uint32_t i = 0; i < count; ++i) {
    (*held)[i] = splitc_driver.reserve(device, bytes[i]);
    if ((*held)[i] == NULL) return -1;
  }
  return 0;
}

static void ReleaseAll(void* device, uint32_t count, void** held) {
  for (uint32_t i = 0; held != NULL && i < count; ++i) splitc_driver.release(device, held[i]);
  free(held);
}

static void Close(State* state) {
  if (state->device != NULL) {
    ReleaseAll(state->device, splitc_program.input_count, state->inputs);
    ReleaseAll(state->device, splitc_program.output_count, state->outputs);
    splitc_driver.release(state->device, state->weights);
    splitc_driver.release(state->device, state->arena);
    splitc_driver.close(state->device);
  }
  free(state);
}

/* What was loaded goes with the code: the device's memory is free again. */
__attribute__((destructor)) static void CloseAll(void) {
  while (states != NULL) {
    State* next = states->next;
    Close(states);
    states = next;
  }
}

static void* Begin(const SplitcPlace* place, const State* state) {
  switch (place->memory) {
    case kInput: return (char*)state->inputs[place->number] + place->offset;
    case kOutput: return (char*)state->outputs[place->number] + place->offset;
    case kWeights: return (char*)state->weights + place->offset;
    default: return (char*)state->arena + place->offset;
  }
}

static int Open(State* state, const void* constants) {
  const SplitcProgram* program = &splitc_program;
  state->device = splitc_driver.open(DeviceNumber());
  if (state->device == NULL) return -1;
  state->weights = splitc_driver.reserve(state->device, program->weights_bytes);
  if (state->weights == NULL) return -1;
  state->arena = splitc_driver.reserve(state->device, program->arena_bytes);
  if (state->arena == NULL ||
      ReserveAll(state->device, program->input_count, program->input_bytes, &state->inputs) != 0 ||
      ReserveAll(state->device, program->output_count, program->output_bytes, &state->outputs) !=
          0 ||
      splitc_driver.upload(state->device, state->weights, constants, program->weights_bytes) != 0) {
    return -1;
  }
  uint64_t total = 0;
  for (uint32_t i = 0; i < program->launch_count; ++i) total += program->launches[i].count;
  void** at = calloc(total + 1, sizeof *at);
  if (at == NULL) return Say("there is no memory left");
  void** next = at;
  for (uint32_t i = 0; i < program->launch_count; ++i) {
    const SplitcLaunch* launch = &program->launches[i];
    for (uint32_t k = 0; k < launch->count; ++k) {
      *next++ = Begin(&launch->places[k], state);
    }
  }
  const int failed = splitc_driver.prepare(state->device, program, at);
  free(at);
  return failed;
}

/* (weights, packed): opens the device; `packed` keeps what it needs. */
SHOWN int __tvm_ffi_prepare(void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* result) {
  (void)self, (void)count, (void)result;
  State* state = calloc(1, sizeof *state);
  if (state == NULL) return Say("there is no memory left");
  pthread_mutex_lock(&lock);
  const int failed = Open(state, DataOf(&args[0]));
  if (failed != 0) {
    Close(state);
  } else {
    state->next = states;
    states = state;
  }
  pthread_mutex_unlock(&lock);
  if (failed != 0) return -1;
  memcpy(DataOf(&args[1]), &state, sizeof state);
  return 0;
}

/* (inputs…, outputs…, weights, packed, arena). */
SHOWN int __tvm_ffi_main(void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* result) {
  (void)self, (void)result;
  const SplitcProgram* program = &splitc_program;
  const uint32_t tensors = program->input_count + program->output_count;
  if ((uint32_t)count != tensors + 3) return Say("it is called with other arguments than it has");
  State* state;
  memcpy(&state, DataOf(&args[tensors + 1]), sizeof state);
  void* all[64];
  if (tensors > 64) return Say("it has more than 64 inputs and outputs");
  for (uint32_t i = 0; i < tensors; ++i) all[i] = DataOf(&args[i]);
  pthread_mutex_lock(&lock);
  const int failed =
      splitc_driver.run(state->device, program, state->inputs, (const void* const*)all,
                        state->outputs, all + program->input_count);
  pthread_mutex_unlock(&lock);
  return failed != 0 ? -1 : 0;
}

static int64_t NanosecondsNow(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* (times, packed): runs the kernels `times[0]` times on what is in the device's memory, and says in
 * `times[1]` how many nanoseconds that took. */
SHOWN int __tvm_ffi_repeat(void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* result) {
  (void)self, (void)count, (void)result;
  int64_t* times = DataOf(&args[0]);
  State* state;
  memcpy(&state, DataOf(&args[1]), sizeof state);
  pthread_mutex_lock(&lock);
  const int64_t start = NanosecondsNow();
  const int failed = splitc_driver.repeat(state->device, &splitc_program, (uint64_t)times[0]);
  times[1] = NanosecondsNow() - start;
  pthread_mutex_unlock(&lock);
  return failed != 0 ? -1 : 0;
}
