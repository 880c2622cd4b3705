/* SPDX-License-Identifier: Apache-2.0
 *
 * CUDA by the driver's own interface (CUDA Driver API, libcuda.so.1): no toolkit is needed on
 * the machine that runs a part. The launches are recorded once as a CUDA graph; a run starts
 * that.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

typedef int Result;      /* CUresult; 0 is success */
typedef uint64_t Memory; /* CUdeviceptr */

enum { kMajor = 75, kMinor = 76 }; /* CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_* */
enum { kOutOfMemory = 2, kThreadLocal = 1 };

static struct {
  Result (*Init)(unsigned);
  Result (*DeviceGetCount)(int*);
  Result (*DeviceGet)(int*, int);
  Result (*DeviceGetAttribute)(int*, int, int);
  Result (*DevicePrimaryCtxRetain)(void**, int);
  Result (*DevicePrimaryCtxRelease)(int);
  Result (*CtxPushCurrent)(void*);
  Result (*CtxPopCurrent)(void**);
  Result (*MemFree)(Memory);
  Result (*ModuleUnload)(void*);
  Result (*StreamDestroy)(void*);
  Result (*GraphDestroy)(void*);
  Result (*GraphExecDestroy)(void*);
  Result (*MemAlloc)(Memory*, size_t);
  Result (*MemGetInfo)(size_t*, size_t*);
  Result (*MemcpyHtoDAsync)(Memory, const void*, size_t, void*);
  Result (*MemcpyDtoHAsync)(void*, Memory, size_t, void*);
  Result (*ModuleLoadData)(void**, const void*);
  Result (*ModuleGetFunction)(void**, void*, const char*);
  Result (*StreamCreate)(void**, unsigned);
  Result (*StreamSynchronize)(void*);
  Result (*StreamBeginCapture)(void*, int);
  Result (*StreamEndCapture)(void*, void**);
  Result (*GraphInstantiate)(void**, void*, unsigned long long);
  Result (*GraphLaunch)(void*, void*);
  Result (*LaunchKernel)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                         unsigned, void*, void**, void**);
  Result (*GetErrorString)(Result, const char**);
} cu;

static const SplitcSymbol kFunctions[] = {
    {"cuInit", (void**)&cu.Init},
    {"cuDeviceGetCount", (void**)&cu.DeviceGetCount},
    {"cuDeviceGet", (void**)&cu.DeviceGet},
    {"cuDeviceGetAttribute", (void**)&cu.DeviceGetAttribute},
    {"cuDevicePrimaryCtxRetain", (void**)&cu.DevicePrimaryCtxRetain},
    {"cuDevicePrimaryCtxRelease_v2", (void**)&cu.DevicePrimaryCtxRelease},
    {"cuCtxPushCurrent_v2", (void**)&cu.CtxPushCurrent},
    {"cuCtxPopCurrent_v2", (void**)&cu.CtxPopCurrent},
    {"cuMemFree_v2", (void**)&cu.MemFree},
    {"cuModuleUnload", (void**)&cu.ModuleUnload},
    {"cuStreamDestroy_v2", (void**)&cu.StreamDestroy},
    {"cuGraphDestroy", (void**)&cu.GraphDestroy},
    {"cuGraphExecDestroy", (void**)&cu.GraphExecDestroy},
    {"cuMemAlloc_v2", (void**)&cu.MemAlloc},
    {"cuMemGetInfo_v2", (void**)&cu.MemGetInfo},
    {"cuMemcpyHtoDAsync_v2", (void**)&cu.MemcpyHtoDAsync},
    {"cuMemcpyDtoHAsync_v2", (void**)&cu.MemcpyDtoHAsync},
    {"cuModuleLoadData", (void**)&cu.ModuleLoadData},
    {"cuModuleGetFunction", (void**)&cu.ModuleGetFunction},
    {"cuStreamCreate", (void**)&cu.StreamCreate},
    {"cuStreamSynchronize", (void**)&cu.StreamSynchronize},
    {"cuStreamBeginCapture_v2", (void**)&cu.StreamBeginCapture},
    {"cuStreamEndCapture", (void**)&cu.StreamEndCapture},
    {"cuGraphInstantiateWithFlags", (void**)&cu.GraphInstantiate},
    {"cuGraphLaunch", (void**)&cu.GraphLaunch},
    {"cuLaunchKernel", (void**)&cu.LaunchKernel},
    {"cuGetErrorString", (void**)&cu.GetErrorString},
};

typedef struct {
  int number;
  void* context;
  void* module;
  void* stream;
  void* graph;
} Device;

static int Failed(const char* what, Result result) {
  const char* why = NULL;
  if (cu.GetErrorString(result, &why) != 0 || why == NULL) why = "the driver gives no reason";
  return SplitcRefuse(what, why);
}

static int OpenDriver(void) {
  return SplitcOpenDriver("libcuda.so.1", kFunctions, sizeof kFunctions / sizeof *kFunctions,
                          "there is no CUDA driver here",
                          "the CUDA driver is too old: CUDA 11.4 or later is needed, it lacks");
}

/* Code of one major number runs on its later minor ones. A Jetson's runs nowhere else, and no
 * other's on a Jetson (CUDA C++ Programming Guide, Binary Compatibility). */
static int RunsOn(int here, int wanted) {
  static const int kJetsons[] = {53, 62, 72, 87, 101, 110};
  for (unsigned i = 0; i < sizeof kJetsons / sizeof *kJetsons; ++i) {
    if (here == kJetsons[i] || wanted == kJetsons[i]) return here == wanted;
  }
  return here / 10 == wanted / 10 && here >= wanted;
}

static int Fits(int number) {
  int major = 0, minor = 0;
  Result result = cu.DeviceGetAttribute(&major, kMajor, number);
  if (result == 0) result = cu.DeviceGetAttribute(&minor, kMinor, number);
  if (result != 0) return Failed("the CUDA driver does not say what its GPU is", result);
  if (RunsOn(10 * major + minor, atoi(splitc_program.arch + 3))) return 0;
  char here[32];
  snprintf(here, sizeof here, "sm_%d%d", major, minor);
  const char* parts[] = {"the part is for ", splitc_program.arch, ", the GPU here is ", here, NULL};
  SplitcSay(parts);
  return -1;
}

/* The device of that number; -1 where there is none that fits. */
static int Find(int number) {
  Result result = cu.Init(0);
  if (result != 0) return Failed("the CUDA driver does not start", result);
  int count = 0, device = 0;
  result = cu.DeviceGetCount(&count);
  if (result != 0) return Failed("the CUDA driver does not count its GPUs", result);
  if (number >= count || number < 0) {
    char asked[64];
    snprintf(asked, sizeof asked, "%d of %d", number, count);
    return SplitcRefuse("there is no such CUDA GPU, counted from 0", asked);
  }
  result = cu.DeviceGet(&device, number);
  if (result != 0) return Failed("the GPU cannot be used", result);
  return Fits(device) == 0 ? device : -1;
}

/* Whoever calls may work in a context of another GPU: it is there again when this returns. */
static Result Enter(const Device* device) { return cu.CtxPushCurrent(device->context); }

static void Leave(void) {
  void* left;
  cu.CtxPopCurrent(&left);
}

static void* Open(int number) {
  if (OpenDriver() != 0) return NULL;
  const int found = Find(number);
  if (found < 0) return NULL;
  Device* made = calloc(1, sizeof *made);
  if (made == NULL) return SplitcRefuse("no memory", "left on the host"), NULL;
  made->number = found;
  Result result = cu.DevicePrimaryCtxRetain(&made->context, found);
  if (result == 0) {
    result = Enter(made);
    if (result == 0) {
      result = cu.StreamCreate(&made->stream, /* non-blocking */ 1);
      Leave();
    }
    if (result == 0) return made;
    cu.DevicePrimaryCtxRelease(found);
  }
  free(made);
  return Failed("the GPU cannot be used", result), NULL;
}

static Result Allocate(uint64_t bytes, Memory* memory, char* why, size_t room) {
  const Result result = cu.MemAlloc(memory, bytes > 0 ? bytes : 1);
  size_t left = 0, total = 0;
  if (result == kOutOfMemory && cu.MemGetInfo(&left, &total) == 0) {
    snprintf(why, room, "%llu bytes are wanted, %llu of %llu are free", (unsigned long long)bytes,
             (unsigned long long)left, (unsigned long long)total);
  }
  return result;
}

static void* Reserve(void* self, uint64_t bytes) {
  Memory memory = 0;
  char why[128] = "";
  Result result = Enter(self);
  if (result == 0) {
    result = Allocate(bytes, &memory, why, sizeof why);
    Leave();
  }
  if (result == 0) return (void*)(uintptr_t)memory;
  if (why[0] != 0) return SplitcRefuse("the GPU's memory is short", why), NULL;
  return Failed("the GPU gives no memory", result), NULL;
}

static int Upload(void* self, void* to, const void* from, uint64_t bytes) {
  Device* device = self;
  Result result = Enter(device);
  if (result == 0) {
    if (bytes > 0) {
      result = cu.MemcpyHtoDAsync((Memory)(uintptr_t)to, from, bytes, device->stream);
    }
    if (result == 0) result = cu.StreamSynchronize(device->stream);
    Leave();
  }
  return result == 0 ? 0 : Failed("weights cannot be copied to the GPU", result);
}

enum { kMostArguments = 64 };

/* The function of each launch: found before they are recorded, as finding one may load code. */
static Result FindFunctions(Device* device, const SplitcProgram* program, void** functions) {
  Result result = 0;
  for (uint32_t i = 0; result == 0 && i < program->launch_count; ++i) {
    result = cu.ModuleGetFunction(&functions[i], device->module, program->launches[i].symbol);
  }
  return result;
}

static Result Record(Device* device, const SplitcProgram* program, void* const* functions,
                     void* const* at) {
  Result result = cu.StreamBeginCapture(device->stream, kThreadLocal);
  if (result != 0) return result;
  for (uint32_t i = 0; result == 0 && i < program->launch_count; ++i) {
    const SplitcLaunch* launch = &program->launches[i];
    void* arguments[kMostArguments];
    for (uint32_t k = 0; k < launch->count; ++k) arguments[k] = (void*)&at[k];
    at += launch->count;
    result = cu.LaunchKernel(functions[i], launch->blocks[0], launch->blocks[1], launch->blocks[2],
                             launch->threads[0], launch->threads[1], launch->threads[2], 0,
                             device->stream, arguments, NULL);
  }
  void* graph = NULL;
  const Result ended = cu.StreamEndCapture(device->stream, &graph);
  if (result == 0) result = ended;
  if (result == 0) result = cu.GraphInstantiate(&device->graph, graph, 0);
  if (graph != NULL) cu.GraphDestroy(graph);
  return result;
}

static int PrepareInside(Device* device, const SplitcProgram* program, void* const* at) {
  Result result = cu.ModuleLoadData(&device->module, program->code);
  if (result != 0) return Failed("the driver does not load the part's code", result);
  void** functions = calloc(program->launch_count + 1, sizeof *functions);
  if (functions == NULL) return SplitcRefuse("no memory", "left on the host");
  result = FindFunctions(device, program, functions);
  if (result == 0) result = Record(device, program, functions, at);
  free(functions);
  return result == 0 ? 0 : Failed("the part's kernels cannot be started", result);
}

static int Prepare(void* self, const SplitcProgram* program, void* const* at) {
  for (uint32_t i = 0; i < program->launch_count; ++i) {
    if (program->launches[i].count > kMostArguments) {
      return SplitcRefuse("a kernel has more arguments than can be handed over",
                          program->launches[i].symbol);
    }
  }
  const Result result = Enter(self);
  if (result != 0) return Failed("the GPU cannot be used", result);
  const int failed = PrepareInside(self, program, at);
  Leave();
  return failed;
}

static Result RunInside(Device* device, const SplitcProgram* program, void* const* held_inputs,
                        const void* const* inputs, void* const* held_outputs,
                        void* const* outputs) {
  Result result = 0;
  for (uint32_t i = 0; result == 0 && i < program->input_count; ++i) {
    result = cu.MemcpyHtoDAsync((Memory)(uintptr_t)held_inputs[i], inputs[i],
                                program->input_bytes[i], device->stream);
  }
  if (result == 0) result = cu.GraphLaunch(device->graph, device->stream);
  for (uint32_t i = 0; result == 0 && i < program->output_count; ++i) {
    result = cu.MemcpyDtoHAsync(outputs[i], (Memory)(uintptr_t)held_outputs[i],
                                program->output_bytes[i], device->stream);
  }
  /* Also after a failure: the caller's arrays are its own again. */
  const Result ended = cu.StreamSynchronize(device->stream);
  return result == 0 ? ended : result;
}

static int Run(void* self, const SplitcProgram* program, void* const* held_inputs,
               const void* const* inputs, void* const* held_outputs, void* const* outputs) {
  Result result = Enter(self);
  if (result == 0) {
    result = RunInside(self, program, held_inputs, inputs, held_outputs, outputs);
    Leave();
  }
  return result == 0 ? 0 : Failed("the GPU fails", result);
}

static int Repeat(void* self, const SplitcProgram* program, uint64_t count) {
  (void)program;
  Device* device = self;
  Result result = Enter(device);
  if (result == 0) {
    for (; result == 0 && count > 0; --count) {
      result = cu.GraphLaunch(device->graph, device->stream);
    }
    const Result ended = cu.StreamSynchronize(device->stream);
    if (result == 0) result = ended;
    Leave();
  }
  return result == 0 ? 0 : Failed("the GPU fails", result);
}

static void Release(void* self, void* memory) {
  if (memory == NULL || Enter(self) != 0) return;
  cu.MemFree((Memory)(uintptr_t)memory);
  Leave();
}

static void Close(void* self) {
  Device* device = self;
  if (Enter(device) == 0) {
    if (device->graph != NULL) cu.GraphExecDestroy(device->graph);
    if (device->module != NULL) cu.ModuleUnload(device->module);
    cu.StreamDestroy(device->stream);
    Leave();
    cu.DevicePrimaryCtxRelease(device->number);
  }
  free(device);
}

const SplitcDriver splitc_driver = {"cuda", Open, Reserve, Upload,
                                    Prepare, Release, Close, Run, Repeat};
