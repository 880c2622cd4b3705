// SPDX-License-Identifier: Apache-2.0
//
// A loaded part: the compiled model, its weights, and memory for its inputs and outputs as
// the contract has them, which parts that run one after another share.

#ifndef SPLITC_RUNNER_MODEL_H_
#define SPLITC_RUNNER_MODEL_H_

#include <tvm/ffi/c_api.h>

#include <memory>
#include <vector>

#include "memory.h"
#include "part.h"
#include "workspace.h"

namespace splitc {

// One argument of a model's function: memory, and the description of it that code is handed.
class Argument {
 public:
  Argument(const DType& dtype, const Shape& shape, void* data);

  TVMFFIAny view();

 private:
  Shape shape_;
  Shape strides_;
  DLTensor tensor_{};
};

class Model {
 public:
  // Loads the model and prepares its weights. Both must outlive the model; the scratch memory
  // must do for the part.
  Model(const Part& part, Workspace* workspace);

  // Where to put the data of input `i`; as many bytes as the contract says.
  void* InputData(size_t i) { return inputs_[i]; }

  // Runs the model once. Returns the time of the call alone, in milliseconds.
  double Run();

  // The data of output `i`, as many bytes as the contract says, until the next run.
  const void* OutputData(size_t i) const { return outputs_[i]; }

  // Time from opening the model to prepared weights, in milliseconds.
  double load_ms() const { return load_ms_; }

 private:
  // What compiled functions are called through: TVM's "safe call".
  using Function = int (*)(void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* result);

  void LoadCode();
  void LoadWeights();
  void Prepare();
  void AddTensors(const std::vector<TensorSpec>& specs, Workspace* workspace,
                  std::vector<void*>* places);
  void AddBytes(void* data, uint64_t bytes);
  Function FindFunction(const std::string& name) const;
  void Call(Function function, const TVMFFIAny* args, size_t count, ExitCode code) const;

  const Part& part_;
  void* library_ = nullptr;
  Function entry_ = nullptr;
  Mapping weights_;
  Mapping packed_;
  std::vector<void*> inputs_;
  std::vector<void*> outputs_;
  std::vector<std::unique_ptr<Argument>> arguments_;
  std::vector<TVMFFIAny> views_;
  double load_ms_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_MODEL_H_
