/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands in for NVIDIA's libcuda.so.1 where there is no GPU: the functions of the CUDA
 * Driver API that splitc calls, held to their contract. A call that a driver could refuse, or
 * that reads what it may not, is refused and kept as a fault; what is made is counted until it is
 * given back. Kernels run as their twins in OpenCL, by the file that CUDA_TWIN names, so that
 * results are results. Work of a stream waits until it is synchronised.
 *
 *   CUDA_ARCH    compute capability, as 90     CUDA_COUNT  how many GPUs there are
 *   CUDA_MEMORY  bytes of each                 CUDA_FAIL   cuMemAlloc_v2:2:999: what its second
 *                                                          call gives
 *   CUDA_REPORT  a file that says at the end what was wrong and what is left
 */

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum {
  kInvalidValue = 1, kOutOfMemory = 2, kNotInitialised = 3, kGone = 4, kNoDevice = 100,
  kInvalidDevice = 101, kInvalidImage = 200, kInvalidContext = 201, kInvalidHandle = 400,
  kNotFound = 500, kCaptureUnsupported = 900,
};

typedef enum { kMemory, kModule, kFunction, kStream, kGraph, kExec, kKinds } Kind;
static const char* const kNames[] = {"memory", "module", "function", "stream", "graph", "executable"};

typedef struct {
  void* kernel;
  uint32_t blocks[3], threads[3], count;
  void* arguments[64];
} Node;

typedef struct Work {
  struct Work* next;
  void *to, *from, *held; /* a copy, of what was there when it was asked for */
  size_t bytes;
  struct Object* exec;
} Work;

typedef struct Object {
  struct Object* next;
  Kind kind;
  int alive;
  char* data; /* of memory */
  size_t bytes;
  void* kernel;
  uint32_t parameters;
  Node* nodes; /* of a graph */
  uint32_t node_count;
  struct Object* capture; /* of a stream */
  pthread_t capturer;
  Work *first, *last;
} Object;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Object* objects;
static uint64_t live[kKinds], in_use;
static int initialised, ended, retained;
static int contexts[16];
static _Thread_local void* stack[8];
static _Thread_local int depth;
static char fault[400];

static uint64_t Number(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* Keeps the first thing that was wrong. */
static int Wrong(int result, const char* format, ...) {
  va_list args;
  va_start(args, format);
  if (fault[0] == 0) vsnprintf(fault, sizeof fault, format, args);
  va_end(args);
  return result;
}

/* Calls that a plan counts. */
API int double_seen;

/* What a test wants a call to give; 0 where it wants nothing. */
static int Planned(const char* name) {
  const char* plan = getenv("CUDA_FAIL");
  const size_t length = strlen(name);
  if (plan == NULL || strncmp(plan, name, length) != 0 || plan[length] != ':') return 0;
  const char* rest = strchr(plan + length + 1, ':');
  return ++double_seen == atoi(plan + length + 1) ? atoi(rest + 1) : 0;
}

static int Begun(const char* name, int in_context) {
  if (ended) return kGone;
  const int planned = Planned(name);
  if (planned != 0) return planned;
  if (!initialised) return Wrong(kNotInitialised, "%s before cuInit", name);
  if (in_context && (depth == 0 || stack[depth - 1] == NULL || retained == 0)) {
    return Wrong(kInvalidContext, "%s with no context", name);
  }
  return 0;
}

#define BEGIN(name, in_context)                 \
  do {                                          \
    const int begun = Begun(#name, in_context); \
    if (begun != 0) return begun;               \
  } while (0)

static Object* Make(Kind kind) {
  Object* made = calloc(1, sizeof *made);
  pthread_mutex_lock(&lock);
  made->kind = kind, made->alive = 1, made->next = objects, objects = made, ++live[kind];
  pthread_mutex_unlock(&lock);
  return made;
}

static Object* Find(void* handle, Kind kind) {
  for (Object* each = objects; each != NULL; each = each->next) {
    if (each == handle && each->kind == kind && each->alive) return each;
  }
  return NULL;
}

static void Drop(Object* object) { object->alive = 0, --live[object->kind]; }

/* The memory that bytes from an address on lie in. */
static Object* Holding(const void* at, size_t bytes) {
  for (Object* each = objects; each != NULL; each = each->next) {
    const char *begin = each->data, *wanted = at;
    if (each->kind == kMemory && each->alive && wanted >= begin && wanted < begin + each->bytes &&
        bytes <= (size_t)(begin + each->bytes - wanted)) {
      return each;
    }
  }
  return NULL;
}

static Object* Capturing(void) {
  for (Object* each = objects; each != NULL; each = each->next) {
    if (each->kind == kStream && each->alive && each->capture != NULL &&
        pthread_equal(each->capturer, pthread_self())) {
      return each;
    }
  }
  return NULL;
}

#define NOT_CAPTURING(name)                                                     \
  do {                                                                          \
    if (Capturing() != NULL) return Wrong(kCaptureUnsupported, #name " while capturing"); \
  } while (0)

/* The twin of the module's code, in OpenCL. */

static struct {
  void *context, *device, *queue, *program;
} cl;
#define CL(type, name) ((type)dlsym(RTLD_DEFAULT, name))
typedef int32_t Status;

static int Twin(void) {
  const char* path = getenv("CUDA_TWIN");
  if (path == NULL || cl.program != NULL) return 0;
  FILE* file = fopen(path, "rb");
  static char source[1 << 22];
  const size_t bytes = file != NULL ? fread(source, 1, sizeof source - 1, file) : 0;
  if (file != NULL) fclose(file);
  if (bytes == 0 || dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_GLOBAL) == NULL) return -1;
  void* platform = NULL;
  const char* text = source;
  Status status = 0;
  CL(Status (*)(uint32_t, void**, uint32_t*), "clGetPlatformIDs")(1, &platform, NULL);
  CL(Status (*)(void*, uint64_t, uint32_t, void**, uint32_t*), "clGetDeviceIDs")
  (platform, 0xFFFFFFFFull, 1, &cl.device, NULL);
  cl.context = CL(void* (*)(void*, uint32_t, void**, void*, void*, Status*), "clCreateContext")(
      NULL, 1, &cl.device, NULL, NULL, &status);
  if (status != 0) return status;
  cl.queue = CL(void* (*)(void*, void*, uint64_t, Status*), "clCreateCommandQueue")(
      cl.context, cl.device, 0, &status);
  cl.program = CL(void* (*)(void*, uint32_t, const char**, void*, Status*),
                  "clCreateProgramWithSource")(cl.context, 1, &text, NULL, &status);
  if (status != 0) return status;
  return CL(Status (*)(void*, uint32_t, void**, const char*, void*, void*), "clBuildProgram")(
      cl.program, 1, &cl.device, "-cl-std=CL1.2 -cl-kernel-arg-info", NULL, NULL);
}

/* Bytes that a kernel's pointer of that number must be a multiple of: those of its element. */
static size_t Alignment(void* kernel, uint32_t number) {
  static const struct { const char* name; size_t bytes; } kTypes[] = {
      {"char", 1}, {"uchar", 1}, {"short", 2}, {"ushort", 2}, {"half", 2}, {"int", 4}, {"uint", 4},
      {"float", 4}, {"long", 8}, {"ulong", 8}, {"double", 8}};
  char type[64] = "";
  CL(Status (*)(void*, uint32_t, uint32_t, size_t, void*, size_t*), "clGetKernelArgInfo")
  (kernel, number, /* CL_KERNEL_ARG_TYPE_NAME */ 0x1198, sizeof type, type, NULL);
  type[strcspn(type, "* ")] = 0;
  for (size_t k = 0; k < sizeof kTypes / sizeof *kTypes; ++k) {
    if (strcmp(type, kTypes[k].name) == 0) return kTypes[k].bytes;
  }
  return 1;
}

static int RunNode(const Node* node) {
  size_t whole[3], local[3];
  for (int axis = 0; axis < 3; ++axis) {
    local[axis] = node->threads[axis];
    whole[axis] = local[axis] * node->blocks[axis];
  }
  for (uint32_t k = 0; k < node->count; ++k) {
    const Object* in = Holding(node->arguments[k], 1);
    if (in == NULL) return Wrong(700, "a kernel is given memory that is not there");
    CL(Status (*)(void*, uint32_t, const void*), "clSetKernelArgSVMPointer")
    (node->kernel, k, node->arguments[k]);
  }
  Status status = CL(Status (*)(void*, void*, uint32_t, const size_t*, const size_t*, const size_t*,
                                uint32_t, void*, void*),
                     "clEnqueueNDRangeKernel")(cl.queue, node->kernel, 3, NULL, whole, local, 0,
                                               NULL, NULL);
  if (status == 0) status = CL(Status (*)(void*), "clFinish")(cl.queue);
  return status == 0 ? 0 : Wrong(719, "the twin does not run: %d", status);
}

static int Drain(Object* stream) {
  int result = 0;
  while (stream->first != NULL) {
    Work* work = stream->first;
    stream->first = work->next;
    if (work->exec != NULL) {
      for (uint32_t k = 0; result == 0 && k < work->exec->node_count && cl.program != NULL; ++k) {
        result = RunNode(&work->exec->nodes[k]);
      }
    } else {
      memcpy(work->to, work->held != NULL ? work->held : work->from, work->bytes);
    }
    free(work->held), free(work);
  }
  stream->last = NULL;
  return result;
}

static void Enqueue(Object* stream, Work work) {
  Work* made = malloc(sizeof *made);
  *made = work, made->next = NULL;
  if (stream->last != NULL) stream->last->next = made;
  else stream->first = made;
  stream->last = made;
}

API int cuInit(unsigned flags) {
  const int planned = Planned("cuInit");
  if (planned != 0) return planned;
  initialised = flags == 0;
  return initialised ? 0 : Wrong(kInvalidValue, "cuInit takes 0");
}

API int cuDeviceGetCount(int* count) {
  BEGIN(cuDeviceGetCount, 0);
  return *count = (int)Number("CUDA_COUNT", 1), 0;
}

static int IsDevice(int device) { return device >= 0 && device < (int)Number("CUDA_COUNT", 1); }

API int cuDeviceGet(int* device, int number) {
  BEGIN(cuDeviceGet, 0);
  return IsDevice(number) ? (*device = number, 0) : Wrong(kInvalidDevice, "no GPU %d", number);
}

API int cuDeviceGetName(char* name, int length, int device) {
  BEGIN(cuDeviceGetName, 0);
  const char* called = getenv("CUDA_NAME");
  if (!IsDevice(device)) return kInvalidDevice;
  return snprintf(name, (size_t)length, "%s", called != NULL ? called : "A stand-in"), 0;
}

API int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  BEGIN(cuDeviceTotalMem_v2, 0);
  return IsDevice(device) ? (*bytes = Number("CUDA_MEMORY", 1u << 30), 0) : kInvalidDevice;
}

API int cuDriverGetVersion(int* version) {
  *version = (int)Number("CUDA_VERSION", 13000);
  return 0;
}

API int cuDeviceGetAttribute(int* value, int attribute, int device) {
  BEGIN(cuDeviceGetAttribute, 0);
  if (!IsDevice(device)) return Wrong(kInvalidDevice, "an attribute of no GPU");
  const int arch = (int)Number("CUDA_ARCH", 90);
  switch (attribute) {
    case 13: return *value = (int)Number("CUDA_CLOCK_KHZ", 1980000), 0;
    case 16: return *value = 132, 0;                            /* multiprocessors */
    case 36: return *value = (int)Number("CUDA_MEMORY_KHZ", 2619000), 0;
    case 37: return *value = 5120, 0;                           /* bits of the memory's bus */
    case 38: return *value = 50 << 20, 0;                       /* bytes of L2 */
    case 75: return *value = arch / 10, 0;
    case 76: return *value = arch % 10, 0;
    default: return Wrong(kInvalidValue, "attribute %d", attribute);
  }
}

API int cuDevicePrimaryCtxRetain(void** context, int device) {
  BEGIN(cuDevicePrimaryCtxRetain, 0);
  if (!IsDevice(device)) return Wrong(kInvalidDevice, "a context of no GPU");
  return ++retained, *context = &contexts[device], 0;
}

API int cuDevicePrimaryCtxRelease_v2(int device) {
  BEGIN(cuDevicePrimaryCtxRelease_v2, 0);
  if (retained == 0) return Wrong(kInvalidContext, "context %d is released too often", device);
  if (--retained > 0) return 0;
  for (int kind = 0; kind < kKinds; ++kind) {
    if (kind != kFunction && live[kind] > 0) {
      Wrong(0, "%d of kind %s left with the context", (int)live[kind], kNames[kind]);
    }
  }
  return 0;
}

static int IsContext(const void* context) {
  return context == NULL || (context >= (void*)contexts && context < (void*)(contexts + 16));
}

API int cuCtxPushCurrent_v2(void* context) {
  BEGIN(cuCtxPushCurrent_v2, 0);
  if (retained == 0 || context == NULL || !IsContext(context) || depth == 8) {
    return Wrong(kInvalidContext, "a context that is not there is pushed");
  }
  return stack[depth++] = context, 0;
}

API int cuCtxPopCurrent_v2(void** context) {
  BEGIN(cuCtxPopCurrent_v2, 0);
  if (depth == 0) return Wrong(kInvalidContext, "no context to pop");
  --depth;
  if (context != NULL) *context = stack[depth];
  return 0;
}

API int cuCtxGetCurrent(void** context) {
  return *context = depth > 0 ? stack[depth - 1] : NULL, 0;
}

API int cuMemAlloc_v2(uint64_t* at, size_t bytes) {
  BEGIN(cuMemAlloc_v2, 1);
  NOT_CAPTURING(cuMemAlloc_v2);
  if (bytes == 0) return Wrong(kInvalidValue, "0 bytes are asked for");
  if (in_use + bytes > Number("CUDA_MEMORY", 1u << 30)) return kOutOfMemory;
  Object* made = Make(kMemory);
  made->bytes = bytes, in_use += bytes;
  made->data = aligned_alloc(256, (bytes + 255) / 256 * 256);
  memset(made->data, 0xff, bytes); /* not a number: what is read before it is written shows */
  return *at = (uint64_t)(uintptr_t)made->data, 0;
}

API int cuMemFree_v2(uint64_t at) {
  BEGIN(cuMemFree_v2, 1);
  NOT_CAPTURING(cuMemFree_v2);
  Object* held = Holding((void*)(uintptr_t)at, 0);
  if (held == NULL || held->data != (char*)(uintptr_t)at) {
    return Wrong(kInvalidValue, "what is freed was not given");
  }
  for (Object* each = objects; each != NULL; each = each->next) { /* it waits for the GPU */
    if (each->kind == kStream && each->alive) Drain(each);
  }
  in_use -= held->bytes;
  free(held->data);
  return Drop(held), 0;
}

API int cuMemGetInfo_v2(size_t* left, size_t* total) {
  BEGIN(cuMemGetInfo_v2, 1);
  *total = Number("CUDA_MEMORY", 1u << 30);
  return *left = *total - in_use, 0;
}

static int Copy(const char* name, void* to, const void* from, size_t bytes, void* on, int down) {
  Object* stream = Find(on, kStream);
  if (stream == NULL) return Wrong(kInvalidHandle, "%s on no stream", name);
  if (stream->capture != NULL) return Wrong(kCaptureUnsupported, "%s while capturing", name);
  if (Holding(down ? from : to, bytes) == NULL) {
    return Wrong(kInvalidValue, "%s of %zu bytes goes beyond its memory", name, bytes);
  }
  void* held = down ? NULL : malloc(bytes > 0 ? bytes : 1);
  if (held != NULL) memcpy(held, from, bytes);
  return Enqueue(stream, (Work){.to = to, .from = (void*)from, .held = held, .bytes = bytes}), 0;
}

API int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
  BEGIN(cuMemcpyHtoDAsync_v2, 1);
  return Copy("cuMemcpyHtoDAsync_v2", (void*)(uintptr_t)to, from, bytes, stream, 0);
}

API int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
  BEGIN(cuMemcpyDtoHAsync_v2, 1);
  return Copy("cuMemcpyDtoHAsync_v2", to, (void*)(uintptr_t)from, bytes, stream, 1);
}

/* The code is to be an ELF file for CUDA, as NVIDIA's compiler makes them. */
API int cuModuleLoadData(void** module, const void* image) {
  BEGIN(cuModuleLoadData, 1);
  NOT_CAPTURING(cuModuleLoadData);
  const unsigned char* bytes = image;
  uint16_t machine, count, size;
  uint64_t sections;
  if (memcmp(bytes, "\177ELF\2", 5) != 0) return Wrong(kInvalidImage, "the code is no cubin");
  memcpy(&machine, bytes + 18, 2), memcpy(&sections, bytes + 40, 8);
  memcpy(&size, bytes + 58, 2), memcpy(&count, bytes + 60, 2);
  if (machine != 190) return Wrong(kInvalidImage, "the code is for machine %d", machine);
  if (Twin() != 0) return Wrong(kInvalidImage, "the twin is not compiled");
  Object* made = Make(kModule);
  made->data = (char*)bytes, made->bytes = sections + (uint64_t)size * count;
  return *module = made, 0;
}

API int cuModuleUnload(void* module) {
  BEGIN(cuModuleUnload, 1);
  NOT_CAPTURING(cuModuleUnload);
  Object* found = Find(module, kModule);
  return found != NULL ? (Drop(found), 0) : Wrong(kInvalidHandle, "no such module to unload");
}

API int cuModuleGetFunction(void** function, void* module, const char* name) {
  BEGIN(cuModuleGetFunction, 1);
  NOT_CAPTURING(cuModuleGetFunction); /* it may load code */
  Object* in = Find(module, kModule);
  if (in == NULL) return Wrong(kInvalidHandle, "a function of no module");
  if (memmem(in->data, in->bytes, name, strlen(name) + 1) == NULL) return kNotFound;
  Object* made = Make(kFunction);
  if (cl.program != NULL) {
    Status status = 0;
    made->kernel = CL(void* (*)(void*, const char*, Status*), "clCreateKernel")(cl.program, name,
                                                                               &status);
    if (status != 0) return Wrong(kNotFound, "the twin has no %s", name);
    CL(Status (*)(void*, uint32_t, size_t, void*, size_t*), "clGetKernelInfo")
    (made->kernel, /* CL_KERNEL_NUM_ARGS */ 0x1191, 4, &made->parameters, NULL);
  }
  return *function = made, 0;
}

API int cuStreamCreate(void** stream, unsigned flags) {
  BEGIN(cuStreamCreate, 1);
  return flags <= 1 ? (*stream = Make(kStream), 0) : Wrong(kInvalidValue, "a stream's flags");
}

API int cuStreamDestroy_v2(void* stream) {
  BEGIN(cuStreamDestroy_v2, 1);
  Object* found = Find(stream, kStream);
  return found != NULL ? (Drop(found), Drain(found)) : Wrong(kInvalidHandle, "no such stream");
}

API int cuStreamSynchronize(void* stream) {
  BEGIN(cuStreamSynchronize, 1);
  Object* found = Find(stream, kStream);
  if (found == NULL) return Wrong(kInvalidHandle, "no such stream to wait for");
  return found->capture == NULL ? Drain(found) : Wrong(kCaptureUnsupported, "waiting while capturing");
}

API int cuStreamBeginCapture_v2(void* stream, int mode) {
  BEGIN(cuStreamBeginCapture_v2, 1);
  Object* found = Find(stream, kStream);
  if (found == NULL || found->capture != NULL || mode != 1) {
    return Wrong(kInvalidValue, "no capture begins on that stream");
  }
  found->capture = Make(kGraph), found->capturer = pthread_self();
  return 0;
}

API int cuStreamEndCapture(void* stream, void** graph) {
  BEGIN(cuStreamEndCapture, 1);
  Object* found = Find(stream, kStream);
  if (found == NULL || found->capture == NULL) return Wrong(kInvalidValue, "no capture to end");
  *graph = found->capture, found->capture = NULL;
  return 0;
}

API int cuLaunchKernel(void* function, unsigned bx, unsigned by, unsigned bz, unsigned tx,
                       unsigned ty, unsigned tz, unsigned shared, void* stream, void** given,
                       void** extra) {
  BEGIN(cuLaunchKernel, 1);
  Object *on = Find(stream, kStream), *what = Find(function, kFunction);
  if (on == NULL || what == NULL || extra != NULL) return Wrong(kInvalidHandle, "what is launched");
  if (on->capture == NULL) return Wrong(kInvalidValue, "a launch outside of a graph");
  if (bx == 0 || by == 0 || bz == 0 || by > 65535 || bz > 65535 || bx > 0x7fffffff || tx == 0 ||
      ty == 0 || tz == 0 || tz > 64 || (uint64_t)tx * ty * tz > 1024 || shared > 48 * 1024) {
    return Wrong(kInvalidValue, "%u %u %u blocks of %u %u %u threads", bx, by, bz, tx, ty, tz);
  }
  Node node = {.kernel = what->kernel, .blocks = {bx, by, bz}, .threads = {tx, ty, tz}};
  for (node.count = 0; node.count < what->parameters; ++node.count) {
    void* at = *(void**)given[node.count];
    if (Holding(at, 1) == NULL) return Wrong(kInvalidValue, "argument %u is no memory", node.count);
    if ((uintptr_t)at % Alignment(what->kernel, node.count) != 0) {
      return Wrong(716, "argument %u is not aligned", node.count);
    }
    node.arguments[node.count] = at;
  }
  Object* graph = on->capture;
  graph->nodes = realloc(graph->nodes, (graph->node_count + 1) * sizeof node);
  graph->nodes[graph->node_count++] = node;
  return 0;
}

API int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long flags) {
  BEGIN(cuGraphInstantiateWithFlags, 1);
  Object* found = Find(graph, kGraph);
  if (found == NULL || flags != 0) return Wrong(kInvalidHandle, "no such graph");
  Object* made = Make(kExec);
  made->nodes = calloc(found->node_count + 1, sizeof *made->nodes);
  if (found->node_count > 0) memcpy(made->nodes, found->nodes, found->node_count * sizeof(Node));
  made->node_count = found->node_count;
  return *exec = made, 0;
}

static int DropOf(void* handle, Kind kind) {
  Object* found = Find(handle, kind);
  if (found == NULL) return Wrong(kInvalidHandle, "no such %s", kNames[kind]);
  free(found->nodes);
  return Drop(found), 0;
}

API int cuGraphDestroy(void* graph) {
  BEGIN(cuGraphDestroy, 1);
  return DropOf(graph, kGraph);
}

API int cuGraphExecDestroy(void* exec) {
  BEGIN(cuGraphExecDestroy, 1);
  return DropOf(exec, kExec);
}

API int cuGraphLaunch(void* exec, void* stream) {
  BEGIN(cuGraphLaunch, 1);
  Object *what = Find(exec, kExec), *on = Find(stream, kStream);
  if (what == NULL || on == NULL) return Wrong(kInvalidHandle, "no such graph to launch");
  return Enqueue(on, (Work){.exec = what}), 0;
}

API int cuGetErrorString(int error, const char** text) {
  switch (error) {
    case kOutOfMemory: return *text = "out of memory", 0;
    case kNoDevice: return *text = "no CUDA-capable device is detected", 0;
    case 209: return *text = "no kernel image is available for execution on the device", 0;
    case 719: return *text = "unspecified launch failure", 0;
    default: return *text = fault[0] != 0 ? fault : "an error", 0;
  }
}

/* NVIDIA's compiler asks for it, to keep what it compiled. */
API int cuGetExportTable(const void** table, const void* id) {
  (void)id;
  return *table = NULL, kNotFound;
}

/* For tests: what was wrong so far and what is there, in a line. */
API const char* double_state(void) {
  static char text[600];
  int at = snprintf(text, sizeof text, "%s", fault[0] != 0 ? fault : "right");
  for (int kind = 0; kind < kKinds; ++kind) {
    if (live[kind] > 0 && kind != kFunction) {
      at += snprintf(text + at, sizeof text - at, ", %d %s", (int)live[kind], kNames[kind]);
    }
  }
  if (retained > 0) snprintf(text + at, sizeof text - at, ", a context %d times", retained);
  return text;
}

__attribute__((destructor)) static void End(void) {
  const char* path = getenv("CUDA_REPORT");
  FILE* file = path != NULL ? fopen(path, "w") : NULL;
  if (file != NULL) fprintf(file, "%s\n", double_state()), fclose(file);
  ended = 1;
}
