/* SPDX-License-Identifier: Apache-2.0
 *
 * A part's program for a graphics processor, as data: what its memory holds and which kernels
 * follow each other. It is generated; host.c runs it by one of the drivers. No library of TVM's
 * or of the device's maker is linked: the driver is the machine's own, opened when a part is
 * loaded.
 */

#ifndef SPLITC_GPU_PROGRAM_H_
#define SPLITC_GPU_PROGRAM_H_

#include <stdint.h>

/* What an argument lies in. */
enum { kInput, kOutput, kWeights, kArena };

typedef struct {
  uint32_t memory; /* one of the above */
  uint32_t number; /* of the input or output */
  uint64_t offset; /* in bytes */
} SplitcPlace;

typedef struct {
  const char* symbol;
  uint32_t blocks[3];
  uint32_t threads[3];
  uint32_t count; /* of places */
  const SplitcPlace* places;
} SplitcLaunch;

typedef struct {
  const char* arch;       /* "sm_90"; "" where the driver compiles */
  const void* code;       /* for the driver: a cubin, or source that ends in a zero byte */
  uint64_t code_bytes;
  uint64_t weights_bytes;
  uint64_t arena_bytes;
  uint32_t input_count;
  const uint64_t* input_bytes;
  uint32_t output_count;
  const uint64_t* output_bytes;
  uint32_t launch_count;
  const SplitcLaunch* launches;
} SplitcProgram;

/* Written once, by the linker or before the first call. */
extern SplitcProgram splitc_program;

/* How a device is asked to do things. What fails calls SplitcSay and returns null or other than
 * 0. One thread at a time calls. */
typedef struct {
  const char* api; /* "cuda", as users name it */
  /* Opens the device of that number, its memory still empty. */
  void* (*open)(int number);
  /* Memory of the device's. */
  void* (*reserve)(void* device, uint64_t bytes);
  /* Copies to the device, and waits for it. */
  int (*upload)(void* device, void* to, const void* from, uint64_t bytes);
  /* Loads the program's code and gets its launches ready; `at` has the address of each place,
   * launch by launch. */
  int (*prepare)(void* device, const SplitcProgram* program, void* const* at);
  /* Frees memory, null or the device's; and the device itself, when all of it is free. */
  void (*release)(void* device, void* memory);
  void (*close)(void* device);
  /* Copies the inputs there, runs the launches, copies the outputs back, and waits. */
  int (*run)(void* device, const SplitcProgram* program, void* const* held_inputs,
             const void* const* inputs, void* const* held_outputs, void* const* outputs);
  /* Runs the launches so often, one run behind the other with no copies, and waits. */
  int (*repeat)(void* device, const SplitcProgram* program, uint64_t count);
} SplitcDriver;

extern const SplitcDriver splitc_driver;

/* Why what was asked cannot be done: the parts, null at the end, one after another. */
void SplitcSay(const char* const* parts);

/* Says what cannot be done and why. Gives -1. */
int SplitcRefuse(const char* what, const char* why);

/* A function of a driver's, and where its address is wanted. */
typedef struct {
  const char* name;
  void** place;
} SplitcSymbol;

/* Opens a driver's library and finds `count` functions in it. Gives other than 0 where it is not
 * there, which `none` says, or lacks one, which `old` says. */
int SplitcOpenDriver(const char* library, const SplitcSymbol* symbols, uint32_t count,
                     const char* none, const char* old);

#endif /* SPLITC_GPU_PROGRAM_H_ */
