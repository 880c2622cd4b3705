// SPDX-License-Identifier: Apache-2.0
//
// Loads and runs a part.

#include "model.h"

#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "error.h"
#include "host.h"

extern "C" const SplitcHost* splitc_host_table();
extern "C" const char* splitc_host_error();

namespace splitc {
namespace {

double NowMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

const DType& Bytes() { return *FindDType("uint8"); }

}  // namespace

Argument::Argument(const DType& dtype, const Shape& shape, void* data)
    : shape_(shape), strides_(shape.size()) {
  int64_t stride = 1;
  for (size_t i = shape_.size(); i-- > 0; stride *= shape_[i]) strides_[i] = stride;
  tensor_.data = data;
  tensor_.device = DLDevice{kDLCPU, 0};
  tensor_.ndim = static_cast<int32_t>(shape_.size());
  tensor_.dtype =
      DLDataType{dtype.dlpack_code, static_cast<uint8_t>(dtype.size * 8), /*lanes=*/1};
  tensor_.shape = shape_.data();
  tensor_.strides = strides_.data();
}

TVMFFIAny Argument::view() {
  TVMFFIAny any{};
  any.type_index = kTVMFFIDLTensorPtr;
  any.v_ptr = &tensor_;
  return any;
}

Model::Model(const Part& part, Workspace* workspace) : part_(part) {
  const double start = NowMilliseconds();
  LoadCode();
  LoadWeights();
  Prepare();
  const Manifest& manifest = part_.manifest();
  AddTensors(manifest.inputs, workspace, &inputs_);
  AddTensors(manifest.outputs, workspace, &outputs_);
  AddBytes(weights_.data(), weights_.bytes());
  AddBytes(packed_.data(), packed_.bytes());
  AddBytes(workspace->scratch(), std::max<uint64_t>(manifest.activation_bytes, 1));
  load_ms_ = NowMilliseconds() - start;
}

// The library is never closed: the pool's threads may still be on their way out of its code,
// and the process is about to end.
void Model::LoadCode() {
  const std::string& name = part_.manifest().model;
  // Code that calls the mathematical library does not name it: it takes what is here.
  dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
  part_.CheckUnchanged(name);
  library_ = dlopen(part_.PathOf(name).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    const char* why = dlerror();
    Fail(ExitCode::kCannotLoad, name, why != nullptr ? why : "dlopen failed");
  }
  part_.CheckUnchanged(name);
  void* table = dlsym(library_, "splitc_host");
  if (table == nullptr) Fail(ExitCode::kCannotLoad, name, "is not a model of splitc's");
  std::memcpy(table, splitc_host_table(), sizeof(SplitcHost));
  entry_ = FindFunction(part_.manifest().entry);
}

void Model::LoadWeights() {
  const std::string& name = part_.manifest().weights;
  if (name.empty()) {
    weights_ = Mapping::Anonymous(0);
    return;
  }
  part_.CheckUnchanged(name);
  weights_ = Mapping::OfFile(part_.Opened(name), name);
  part_.CheckUnchanged(name);
}

// Weights that only the preparing reads would stay in memory, beside the form they were
// brought in. The others come back from the page cache, where hashing left them.
void Model::Prepare() {
  const Manifest& manifest = part_.manifest();
  packed_ = Mapping::Anonymous(manifest.packed_bytes);
  if (manifest.packed_bytes == 0) return;
  Argument weights(Bytes(), {static_cast<int64_t>(weights_.bytes())}, weights_.data());
  Argument packed(Bytes(), {static_cast<int64_t>(packed_.bytes())}, packed_.data());
  const TVMFFIAny views[] = {weights.view(), packed.view()};
  Call(FindFunction("prepare"), views, 2, ExitCode::kCannotLoad);
  if (!manifest.weights.empty()) weights_.Drop();
}

Model::Function Model::FindFunction(const std::string& name) const {
  void* symbol = dlsym(library_, ("__tvm_ffi_" + name).c_str());
  if (symbol == nullptr) {
    Fail(ExitCode::kCannotLoad, part_.manifest().model, "has no function \"" + name + "\"");
  }
  Function function = nullptr;
  static_assert(sizeof symbol == sizeof function, "POSIX needs function pointers to fit void*");
  std::memcpy(&function, &symbol, sizeof function);
  return function;
}

void Model::AddTensors(const std::vector<TensorSpec>& specs, Workspace* workspace,
                       std::vector<void*>* places) {
  for (const TensorSpec& spec : specs) {
    places->push_back(workspace->Tensor(spec));
    arguments_.push_back(std::make_unique<Argument>(*spec.dtype, spec.shape, places->back()));
    views_.push_back(arguments_.back()->view());
  }
}

void Model::AddBytes(void* data, uint64_t bytes) {
  const Shape shape{static_cast<int64_t>(bytes)};
  arguments_.push_back(std::make_unique<Argument>(Bytes(), shape, data));
  views_.push_back(arguments_.back()->view());
}

void Model::Call(Function function, const TVMFFIAny* args, size_t count, ExitCode code) const {
  TVMFFIAny result{};
  if (function(nullptr, args, static_cast<int32_t>(count), &result) != 0) {
    const Manifest& manifest = part_.manifest();
    Fail(manifest.on_gpu ? ExitCode::kDevice : code, manifest.model, splitc_host_error());
  }
}

double Model::Run() {
  const double start = NowMilliseconds();
  Call(entry_, views_.data(), views_.size(), ExitCode::kOther);
  return NowMilliseconds() - start;
}

}  // namespace splitc
