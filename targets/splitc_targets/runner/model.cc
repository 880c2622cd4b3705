// SPDX-License-Identifier: Apache-2.0
//
// Loads and runs a part.

#include "model.h"

#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "error.h"
#include "text.h"

namespace splitc {
namespace {

// More than the 64 bytes that generated code relies on; DLPack suggests this.
constexpr size_t kAlignment = 256;

// AllocatorType::kPooled in TVM: memory is reused from run to run.
constexpr int64_t kPooledAllocator = 2;

double NowMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

// The memory of one input, and the description of it that TVM is handed.
struct InputMemory {
  explicit InputMemory(const TensorSpec& spec) : shape(spec.shape), strides(spec.shape.size()) {
    int64_t stride = 1;
    for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) strides[i] = stride;
    const size_t bytes = (spec.bytes + kAlignment - 1) / kAlignment * kAlignment;
    data.reset(std::aligned_alloc(kAlignment, bytes));
    if (!data) FailPlainly("splitc-run: memory: not enough\n");
    DLTensor& tensor = managed.dl_tensor;
    tensor.data = data.get();
    tensor.device = DLDevice{kDLCPU, 0};
    tensor.ndim = static_cast<int32_t>(shape.size());
    tensor.dtype = DLDataType{spec.dtype->dlpack_code, static_cast<uint8_t>(spec.dtype->size * 8),
                              /*lanes=*/1};
    tensor.shape = shape.data();
    tensor.strides = strides.data();
    managed.manager_ctx = this;
    managed.deleter = [](DLManagedTensor* self) {
      delete static_cast<InputMemory*>(self->manager_ctx);
    };
  }

  struct Freer {
    void operator()(void* p) const { std::free(p); }
  };

  Shape shape;
  Shape strides;
  std::unique_ptr<void, Freer> data;
  DLManagedTensor managed{};
};

bool IsContiguous(const DLTensor& tensor) {
  if (tensor.strides == nullptr) return true;
  int64_t expected = 1;
  for (int32_t i = tensor.ndim; i-- > 0; expected *= tensor.shape[i]) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
  }
  return true;
}

std::string Described(const DType* dtype, const Shape& shape) {
  return (dtype != nullptr ? dtype->name : "an unknown dtype") + ShapeText(shape);
}

}  // namespace

Model::Model(const Part& part) : part_(part) {
  const double start = NowMilliseconds();
  LoadLibraries();
  LoadModel();
  load_ms_ = NowMilliseconds() - start;
  entry_ = ModuleFunction(machine_, part_.manifest().entry.c_str());
  for (const TensorSpec& spec : part_.manifest().inputs) AddInput(spec);
}

// The libraries are never closed: they register functions with each other and
// keep threads, so unloading them is not safe, and the process is about to end.
void Model::LoadLibraries() {
  for (const std::string& name : part_.manifest().libraries) {
    part_.CheckUnchanged(name);
    void* handle = dlopen(part_.PathOf(name).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      Fail(ExitCode::kCannotLoad, name, why != nullptr ? why : "dlopen failed");
    }
    part_.CheckUnchanged(name);
    if (name == kFfiLibrary) abi_ = std::make_unique<TvmAbi>(handle);
  }
  get_function_ = abi_->GlobalFunction("ffi.ModuleGetFunction");
  array_size_ = abi_->GlobalFunction("ffi.ArraySize");
  array_item_ = abi_->GlobalFunction("ffi.ArrayGetItem");
}

void Model::LoadModel() {
  const std::string& name = part_.manifest().model;
  const TvmContext context{ExitCode::kCannotLoad, name.c_str()};
  const std::string path = part_.PathOf(name);
  part_.CheckUnchanged(name);
  executable_ = abi_->Call(abi_->GlobalFunction("ffi.ModuleLoadFromFile"),
                           {TvmString(path.c_str())}, context);
  part_.CheckUnchanged(name);
  if (!executable_.is(kTVMFFIModule)) Fail(context.code, name, "is not a TVM module");
  machine_ = abi_->Call(ModuleFunction(executable_, "vm_load_executable"), {}, context);
  if (!machine_.is_object()) Fail(context.code, name, "is not a Relax executable");
  // Device, index and allocator, twice: for the model, and for the shape
  // computations, which the virtual machine wants on a CPU in any case.
  abi_->Call(ModuleFunction(machine_, "vm_initialization"),
             {TvmInt(kDLCPU), TvmInt(0), TvmInt(kPooledAllocator),  //
              TvmInt(kDLCPU), TvmInt(0), TvmInt(kPooledAllocator)},
             context);
}

TvmValue Model::ModuleFunction(const TvmValue& module, const char* name) const {
  const std::string& model = part_.manifest().model;
  const TvmContext context{ExitCode::kCannotLoad, model.c_str()};
  TvmValue function =
      abi_->Call(get_function_, {module.view(), TvmString(name), TvmBool(true)}, context);
  if (!function.is(kTVMFFIFunction)) {
    Fail(context.code, model, std::string("has no function \"") + name + "\"");
  }
  return function;
}

void Model::AddInput(const TensorSpec& spec) {
  auto memory = std::make_unique<InputMemory>(spec);
  void* data = memory->data.get();
  inputs_.push_back(abi_->TensorFromDLPack(&memory->managed, kAlignment));
  memory.release();  // the tensor's now
  input_data_.push_back(data);
}

double Model::Run() {
  // Freed here, so that the model can reuse the memory, but not on its time.
  outputs_.clear();
  std::vector<TVMFFIAny> args;
  for (const TvmValue& input : inputs_) args.push_back(input.view());
  const TvmContext context{ExitCode::kOther, "inference"};
  const double start = NowMilliseconds();
  TvmValue result = abi_->Call(entry_, std::move(args), context);
  const double milliseconds = NowMilliseconds() - start;
  TakeOutputs(std::move(result));
  return milliseconds;
}

void Model::TakeOutputs(TvmValue result) {
  const std::vector<TensorSpec>& specs = part_.manifest().outputs;
  const TvmContext context{ExitCode::kOther, "outputs"};
  if (result.is(kTVMFFIArray)) {
    const int64_t count = abi_->Call(array_size_, {result.view()}, context).integer();
    for (int64_t i = 0; i < count; ++i) {
      outputs_.push_back(abi_->Call(array_item_, {result.view(), TvmInt(i)}, context));
    }
  } else {
    outputs_.push_back(std::move(result));
  }
  if (outputs_.size() != specs.size()) {
    Fail(ExitCode::kBadInput, context.what,
         "the model gave " + Decimal(outputs_.size()) + " instead of the contract's " +
             Decimal(specs.size()));
  }
  for (size_t i = 0; i < specs.size(); ++i) CheckOutput(outputs_[i], specs[i]);
}

void Model::CheckOutput(const TvmValue& value, const TensorSpec& spec) const {
  const std::string what = "output \"" + spec.name + "\"";
  if (!value.is(kTVMFFITensor)) Fail(ExitCode::kBadInput, what, "the model gave no tensor");
  const DLTensor& tensor = *TVMFFITensorGetDLTensorPtr(value.object());
  const DType* dtype = FindDLPackDType(tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes);
  const Shape shape(tensor.shape, tensor.shape + tensor.ndim);
  if (dtype != spec.dtype || shape != spec.shape) {
    Fail(ExitCode::kBadInput, what,
         "the model gave " + Described(dtype, shape) + " instead of the contract's " +
             Described(spec.dtype, spec.shape));
  }
  if (tensor.device.device_type != kDLCPU || !IsContiguous(tensor)) {
    Fail(ExitCode::kBadInput, what, "is not plain memory");
  }
}

const void* Model::OutputData(size_t i) const {
  const DLTensor& tensor = *TVMFFITensorGetDLTensorPtr(outputs_[i].object());
  return static_cast<const char*>(tensor.data) + tensor.byte_offset;
}

}  // namespace splitc
