// SPDX-License-Identifier: Apache-2.0
//
// Memory of parts that run one after another: they share what they compute in, and a tensor
// that one makes and another reads lies where it was made.

#ifndef SPLITC_RUNNER_WORKSPACE_H_
#define SPLITC_RUNNER_WORKSPACE_H_

#include <cstdint>
#include <vector>

#include "manifest.h"
#include "memory.h"

namespace splitc {

class Workspace {
 public:
  // `scratch_bytes` is what the largest part computes in.
  explicit Workspace(uint64_t scratch_bytes) : scratch_(Mapping::Anonymous(scratch_bytes)) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* scratch() const { return scratch_.data(); }

  // A tensor's memory, one for all who name it alike; it stays where it is.
  void* Tensor(const TensorSpec& spec) {
    for (const Named& one : tensors_) {
      if (SameTensor(one.spec, spec)) return one.memory.data();
    }
    tensors_.push_back({spec, Mapping::Anonymous(spec.bytes)});
    return tensors_.back().memory.data();
  }

 private:
  struct Named {
    TensorSpec spec;
    Mapping memory;
  };

  Mapping scratch_;
  std::vector<Named> tensors_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_WORKSPACE_H_
