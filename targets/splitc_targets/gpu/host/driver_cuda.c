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
  Result (*CtxSetCurrent)(void*);
  Result (*MemFree)(Memory);
  Result (*ModuleUnload)(void*);
  Result (*StreamDestroy)(void*);
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
    {"cuCtxSetCurrent", (void**)&cu.CtxSetCurrent},
    {"cuMemFree_v2", (void**)&cu.MemFree},
    {"cuModuleUnload", (void**)&cu.ModuleUnload},
    {"cuStreamDestroy_v2", (void**)&cu.StreamDestroy},
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

static int Fits(int number) {
  int major = 0, minor = 0;
  cu.DeviceGetAttribute(&major, kMajor, number);
  cu.DeviceGetAttribute(&minor, kMinor, number);
  const int wanted = atoi(splitc_program.arch + 3);
  /* Code for sm_80 runs on sm_86, none runs on another major number. */
  if (major == wanted / 10 && minor >= wanted % 10) return 0;
  char here[32];
  snprintf(here, sizeof here, "sm_%d%d", major, minor);
  const char* parts[] = {"the part is for ", splitc_program.arch, ", the GPU here is ", here, NULL};
  SplitcSay(parts);
  return -1;
}

static void* Open(int number) {
  if (OpenDriver() != 0) return NULL;
  Result result = cu.Init(0);
  if (result != 0) return Failed("the CUDA driver does not start", result), NULL;
  int count = 0, device = 0;
  if (cu.DeviceGetCount(&count) != 0 || number >= count || number < 0) {
    char asked[64];
    snprintf(asked, sizeof asked, "%d of %d", number, count);
    return SplitcRefuse("there is no such CUDA GPU, counted from 0", asked), NULL;
  }
  cu.DeviceGet(&device, number);
  if (Fits(device) != 0) return NULL;
  Device* made = calloc(1, sizeof *made);
  if (made == NULL) return SplitcRefuse("no memory", "left on the host"), NULL;
  made->number = device;
  result = cu.DevicePrimaryCtxRetain(&made->context, device);
  if (result == 0) result = cu.CtxSetCurrent(made->context);
  if (result == 0) result = cu.StreamCreate(&made->stream, /* non-blocking */ 1);
  if (result != 0) return Failed("the GPU cannot be used", result), NULL;
  return made;
}

static void* Reserve(void* self, uint64_t bytes) {
  Memory memory = 0;
  (void)self;
  const Result result = cu.MemAlloc(&memory, bytes > 0 ? bytes : 1);
  if (result == 0) return (void*)(uintptr_t)memory;
  size_t left = 0, total = 0;
  cu.MemGetInfo(&left, &total);
  char why[96];
  snprintf(why, sizeof why, "%llu bytes are wanted, %llu of %llu are free",
           (unsigned long long)bytes, (unsigned long long)left, (unsigned long long)total);
  if (result == kOutOfMemory) return SplitcRefuse("the GPU's memory is short", why), NULL;
  return Failed("the GPU gives no memory", result), NULL;
}

static int Upload(void* self, void* to, const void* from, uint64_t bytes) {
  Device* device = self;
  Result result = cu.MemcpyHtoDAsync((Memory)(uintptr_t)to, from, bytes, device->stream);
  if (result == 0) result = cu.StreamSynchronize(device->stream);
  return result == 0 ? 0 : Failed("weights cannot be copied to the GPU", result);
}

enum { kMostArguments = 64 };

static Result Record(Device* device, const SplitcProgram* program, void* const* at) {
  Result result = cu.StreamBeginCapture(device->stream, kThreadLocal);
  for (uint32_t i = 0; result == 0 && i < program->launch_count; ++i) {
    const SplitcLaunch* launch = &program->launches[i];
    void* function = NULL;
    void* arguments[kMostArguments];
    for (uint32_t k = 0; k < launch->count; ++k) arguments[k] = (void*)&at[k];
    at += launch->count;
    result = cu.ModuleGetFunction(&function, device->module, launch->symbol);
    if (result != 0) break;
    result = cu.LaunchKernel(function, launch->blocks[0], launch->blocks[1], launch->blocks[2],
                             launch->threads[0], launch->threads[1], launch->threads[2], 0,
                             device->stream, arguments, NULL);
  }
  void* graph = NULL;
  const Result ended = cu.StreamEndCapture(device->stream, &graph);
  if (result == 0) result = ended;
  return result == 0 ? cu.GraphInstantiate(&device->graph, graph, 0) : result;
}

static int Prepare(void* self, const SplitcProgram* program, void* const* at) {
  Device* device = self;
  for (uint32_t i = 0; i < program->launch_count; ++i) {
    if (program->launches[i].count > kMostArguments) {
      return SplitcRefuse("a kernel has more arguments than can be handed over", program->launches[i].symbol);
    }
  }
  Result result = cu.ModuleLoadData(&device->module, program->code);
  if (result != 0) return Failed("the driver does not load the part's code", result);
  result = Record(device, program, at);
  return result == 0 ? 0 : Failed("the part's kernels cannot be started", result);
}

static int Run(void* self, const SplitcProgram* program, void* const* held_inputs,
               const void* const* inputs, void* const* held_outputs, void* const* outputs) {
  Device* device = self;
  Result result = cu.CtxSetCurrent(device->context);
  for (uint32_t i = 0; result == 0 && i < program->input_count; ++i) {
    result = cu.MemcpyHtoDAsync((Memory)(uintptr_t)held_inputs[i], inputs[i],
                                program->input_bytes[i], device->stream);
  }
  if (result == 0) result = cu.GraphLaunch(device->graph, device->stream);
  for (uint32_t i = 0; result == 0 && i < program->output_count; ++i) {
    result = cu.MemcpyDtoHAsync(outputs[i], (Memory)(uintptr_t)held_outputs[i],
                                program->output_bytes[i], device->stream);
  }
  if (result == 0) result = cu.StreamSynchronize(device->stream);
  return result == 0 ? 0 : Failed("the GPU fails", result);
}

static void Release(void* self, void* memory) {
  Device* device = self;
  if (memory == NULL || cu.CtxSetCurrent(device->context) != 0) return;
  cu.MemFree((Memory)(uintptr_t)memory);
}

static void Close(void* self) {
  Device* device = self;
  if (cu.CtxSetCurrent(device->context) == 0) {
    if (device->graph != NULL) cu.GraphExecDestroy(device->graph);
    if (device->module != NULL) cu.ModuleUnload(device->module);
    cu.StreamDestroy(device->stream);
    cu.DevicePrimaryCtxRelease(device->number);
  }
  free(device);
}

const SplitcDriver splitc_driver = {Open, Reserve, Upload, Prepare, Release, Close, Run};
