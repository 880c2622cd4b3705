// SPDX-License-Identifier: Apache-2.0
//
// A loaded part: TVM's libraries, the compiled model, and tensors for its inputs
// and outputs as the contract has them.

#ifndef SPLITC_RUNNER_MODEL_H_
#define SPLITC_RUNNER_MODEL_H_

#include <memory>
#include <vector>

#include "part.h"
#include "tvm_abi.h"

namespace splitc {

class Model {
 public:
  // Loads the libraries and the model. `part` must outlive the model.
  explicit Model(const Part& part);

  // Where to put the data of input `i`; as many bytes as the contract says.
  void* InputData(size_t i) { return input_data_[i]; }

  // Runs the model once. Returns the time of the call alone, in milliseconds.
  // The outputs are checked against the contract, and valid until the next run.
  double Run();

  const void* OutputData(size_t i) const;

  // Time from the first library to the ready virtual machine, in milliseconds.
  double load_ms() const { return load_ms_; }

 private:
  void LoadLibraries();
  void LoadModel();
  TvmValue ModuleFunction(const TvmValue& module, const char* name) const;
  void AddInput(const TensorSpec& spec);
  void TakeOutputs(TvmValue result);
  void CheckOutput(const TvmValue& value, const TensorSpec& spec) const;

  // The order matters: what comes later refers to what comes earlier.
  const Part& part_;
  std::unique_ptr<TvmAbi> abi_;
  TvmValue get_function_;
  TvmValue array_size_;
  TvmValue array_item_;
  TvmValue executable_;
  TvmValue machine_;
  TvmValue entry_;
  std::vector<TvmValue> inputs_;
  std::vector<void*> input_data_;
  std::vector<TvmValue> outputs_;
  double load_ms_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_MODEL_H_
