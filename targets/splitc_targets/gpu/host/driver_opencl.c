/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenCL 2.0 by its loader (libOpenCL.so.1): the driver compiles the part's source when it is
 * loaded. Memory is shared virtual memory, so that a kernel's argument can begin anywhere in it.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

typedef int32_t Result; /* cl_int; 0 is success */

enum {
  kDeviceName = 0x102B,
  kSvmCapabilities = 0x1053,
  kBuildLog = 0x1183,
  kReadWrite = 1,
  kTrue = 1,
};
#define ALL_DEVICES 0xFFFFFFFFull

static struct {
  Result (*GetPlatformIDs)(uint32_t, void**, uint32_t*);
  Result (*GetDeviceIDs)(void*, uint64_t, uint32_t, void**, uint32_t*);
  Result (*GetDeviceInfo)(void*, uint32_t, size_t, void*, size_t*);
  void* (*CreateContext)(const intptr_t*, uint32_t, void* const*, void*, void*, Result*);
  void* (*CreateCommandQueue)(void*, void*, uint64_t, Result*);
  void* (*CreateProgramWithSource)(void*, uint32_t, const char**, const size_t*, Result*);
  Result (*BuildProgram)(void*, uint32_t, void* const*, const char*, void*, void*);
  Result (*GetProgramBuildInfo)(void*, void*, uint32_t, size_t, void*, size_t*);
  void* (*CreateKernel)(void*, const char*, Result*);
  Result (*SetKernelArgSVMPointer)(void*, uint32_t, const void*);
  Result (*EnqueueNDRangeKernel)(void*, void*, uint32_t, const size_t*, const size_t*,
                                 const size_t*, uint32_t, void*, void*);
  void* (*SVMAlloc)(void*, uint64_t, size_t, uint32_t);
  void (*SVMFree)(void*, void*);
  Result (*ReleaseKernel)(void*);
  Result (*ReleaseProgram)(void*);
  Result (*ReleaseCommandQueue)(void*);
  Result (*ReleaseContext)(void*);
  Result (*EnqueueSVMMemcpy)(void*, uint32_t, void*, const void*, size_t, uint32_t, void*, void*);
  Result (*Finish)(void*);
} cl;

static const SplitcSymbol kFunctions[] = {
    {"clGetPlatformIDs", (void**)&cl.GetPlatformIDs},
    {"clGetDeviceIDs", (void**)&cl.GetDeviceIDs},
    {"clGetDeviceInfo", (void**)&cl.GetDeviceInfo},
    {"clCreateContext", (void**)&cl.CreateContext},
    {"clCreateCommandQueue", (void**)&cl.CreateCommandQueue},
    {"clCreateProgramWithSource", (void**)&cl.CreateProgramWithSource},
    {"clBuildProgram", (void**)&cl.BuildProgram},
    {"clGetProgramBuildInfo", (void**)&cl.GetProgramBuildInfo},
    {"clCreateKernel", (void**)&cl.CreateKernel},
    {"clSetKernelArgSVMPointer", (void**)&cl.SetKernelArgSVMPointer},
    {"clEnqueueNDRangeKernel", (void**)&cl.EnqueueNDRangeKernel},
    {"clSVMAlloc", (void**)&cl.SVMAlloc},
    {"clSVMFree", (void**)&cl.SVMFree},
    {"clReleaseKernel", (void**)&cl.ReleaseKernel},
    {"clReleaseProgram", (void**)&cl.ReleaseProgram},
    {"clReleaseCommandQueue", (void**)&cl.ReleaseCommandQueue},
    {"clReleaseContext", (void**)&cl.ReleaseContext},
    {"clEnqueueSVMMemcpy", (void**)&cl.EnqueueSVMMemcpy},
    {"clFinish", (void**)&cl.Finish},
};

enum { kMost = 16 };

typedef struct {
  void* id;
  void* context;
  void* queue;
  void* code;
  void** kernels; /* one a launch, its arguments set */
} Device;

static int Failed(const char* what, Result result) {
  char why[32];
  snprintf(why, sizeof why, "OpenCL's error %d", result);
  return SplitcRefuse(what, why);
}

static int OpenDriver(void) {
  return SplitcOpenDriver("libOpenCL.so.1", kFunctions, sizeof kFunctions / sizeof *kFunctions,
                          "there is no OpenCL here",
                          "OpenCL here is too old: version 2.0 is needed, it lacks");
}

/* The device of that number among those whose memory is shared: all platforms' in turn. */
static void* Find(int number) {
  void* platforms[kMost];
  uint32_t platform_count = 0;
  if (cl.GetPlatformIDs(kMost, platforms, &platform_count) != 0) return NULL;
  for (uint32_t p = 0; p < platform_count && p < kMost; ++p) {
    void* devices[kMost];
    uint32_t count = 0;
    if (cl.GetDeviceIDs(platforms[p], ALL_DEVICES, kMost, devices, &count) != 0) continue;
    for (uint32_t d = 0; d < count && d < kMost; ++d) {
      uint64_t shared = 0;
      cl.GetDeviceInfo(devices[d], kSvmCapabilities, sizeof shared, &shared, NULL);
      if (shared != 0 && number-- == 0) return devices[d];
    }
  }
  return NULL;
}

static void Close(void* self) {
  Device* device = self;
  for (uint32_t i = 0; device->kernels != NULL && i < splitc_program.launch_count; ++i) {
    if (device->kernels[i] != NULL) cl.ReleaseKernel(device->kernels[i]);
  }
  free(device->kernels);
  if (device->code != NULL) cl.ReleaseProgram(device->code);
  if (device->queue != NULL) cl.ReleaseCommandQueue(device->queue);
  if (device->context != NULL) cl.ReleaseContext(device->context);
  free(device);
}

static void* Open(int number) {
  if (OpenDriver() != 0) return NULL;
  char asked[32];
  snprintf(asked, sizeof asked, "number %d, from 0", number);
  Device* made = calloc(1, sizeof *made);
  if (made == NULL) return SplitcRefuse("no memory", "left on the host"), NULL;
  made->id = Find(number);
  if (made->id == NULL) {
    free(made);
    return SplitcRefuse("there is no OpenCL 2.0 device with shared virtual memory", asked), NULL;
  }
  Result result = 0;
  made->context = cl.CreateContext(NULL, 1, &made->id, NULL, NULL, &result);
  if (result == 0) made->queue = cl.CreateCommandQueue(made->context, made->id, 0, &result);
  if (result == 0) return made;
  Close(made);
  return Failed("the device cannot be used", result), NULL;
}

static void* Reserve(void* self, uint64_t bytes) {
  Device* device = self;
  void* memory = cl.SVMAlloc(device->context, kReadWrite, bytes > 0 ? bytes : 1, 0);
  char why[64];
  snprintf(why, sizeof why, "%llu bytes are wanted", (unsigned long long)bytes);
  if (memory == NULL) SplitcRefuse("the device's memory is short", why);
  return memory;
}

/* Nothing is no copy to OpenCL. */
static Result Copy(Device* device, int wait, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return 0;
  return cl.EnqueueSVMMemcpy(device->queue, wait, to, from, bytes, 0, NULL, NULL);
}

static int Upload(void* self, void* to, const void* from, uint64_t bytes) {
  Device* device = self;
  const Result result = Copy(device, kTrue, to, from, bytes);
  return result == 0 ? 0 : Failed("weights cannot be copied to the device", result);
}

static int Compile(Device* device, const SplitcProgram* program) {
  const char* source = program->code;
  Result result = 0;
  device->code = cl.CreateProgramWithSource(device->context, 1, &source, NULL, &result);
  if (result == 0) {
    result = cl.BuildProgram(device->code, 1, &device->id, "-cl-std=CL1.2", NULL, NULL);
  }
  if (result == 0) return 0;
  char log[512] = "";
  if (device->code != NULL) {
    cl.GetProgramBuildInfo(device->code, device->id, kBuildLog, sizeof log - 1, log, NULL);
  }
  return SplitcRefuse("the driver does not compile the part's code", log);
}

static Result Bind(Device* device, const SplitcProgram* program, void* const* at) {
  Result result = 0;
  for (uint32_t i = 0; result == 0 && i < program->launch_count; ++i) {
    const SplitcLaunch* launch = &program->launches[i];
    device->kernels[i] = cl.CreateKernel(device->code, launch->symbol, &result);
    for (uint32_t k = 0; result == 0 && k < launch->count; ++k) {
      result = cl.SetKernelArgSVMPointer(device->kernels[i], k, *at++);
    }
  }
  return result;
}

static int Prepare(void* self, const SplitcProgram* program, void* const* at) {
  Device* device = self;
  if (Compile(device, program) != 0) return -1;
  device->kernels = calloc(program->launch_count + 1, sizeof *device->kernels);
  if (device->kernels == NULL) return SplitcRefuse("no memory", "left on the host");
  const Result result = Bind(device, program, at);
  return result == 0 ? 0 : Failed("the part's kernels cannot be started", result);
}

static Result Start(Device* device, const SplitcLaunch* launch, void* kernel) {
  size_t whole[3], local[3];
  for (int axis = 0; axis < 3; ++axis) {
    local[axis] = launch->threads[axis];
    whole[axis] = (size_t)launch->blocks[axis] * launch->threads[axis];
  }
  return cl.EnqueueNDRangeKernel(device->queue, kernel, 3, NULL, whole, local, 0, NULL, NULL);
}

static int Run(void* self, const SplitcProgram* program, void* const* held_inputs,
               const void* const* inputs, void* const* held_outputs, void* const* outputs) {
  Device* device = self;
  Result result = 0;
  for (uint32_t i = 0; result == 0 && i < program->input_count; ++i) {
    result = Copy(device, 0, held_inputs[i], inputs[i], program->input_bytes[i]);
  }
  for (uint32_t i = 0; result == 0 && i < program->launch_count; ++i) {
    result = Start(device, &program->launches[i], device->kernels[i]);
  }
  for (uint32_t i = 0; result == 0 && i < program->output_count; ++i) {
    result = Copy(device, 0, outputs[i], held_outputs[i], program->output_bytes[i]);
  }
  if (result == 0) result = cl.Finish(device->queue);
  return result == 0 ? 0 : Failed("the device fails", result);
}

static int Repeat(void* self, const SplitcProgram* program, uint64_t count) {
  Device* device = self;
  Result result = 0;
  for (; result == 0 && count > 0; --count) {
    for (uint32_t i = 0; result == 0 && i < program->launch_count; ++i) {
      result = Start(device, &program->launches[i], device->kernels[i]);
    }
  }
  if (result == 0) result = cl.Finish(device->queue);
  return result == 0 ? 0 : Failed("the device fails", result);
}

static void Release(void* self, void* memory) {
  Device* device = self;
  if (memory != NULL) cl.SVMFree(device->context, memory);
}

const SplitcDriver splitc_driver = {"opencl", Open, Reserve, Upload,
                                    Prepare, Release, Close, Run, Repeat};
