// SPDX-License-Identifier: Apache-2.0
//
// Memory of parts that run one after another: they share what they compute in, and a tensor
// that one makes and another reads lies where it was made.

#ifndef SPLITC_RUNNER_WORKSPACE_H_
#define SPLITC_RUNNER_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "manifest.h"
#include "memory.h"

namespace splitc {

// A run of parts, and what of their tensors is looked at when the last has ended.
struct Run {
  std::vector<const Manifest*> parts;
  std::vector<const TensorSpec*> kept;
};

// Where tensors lie in one block of memory, whose start every part computes in.
struct Layout {
  struct Placed {
    TensorSpec spec;
    uint64_t offset = 0;
  };

  uint64_t bytes = 0;
  std::vector<Placed> placed;
};

// A place for every tensor that parts make: no run has it written over while it is wanted. What
// runs are given to read is not among them.
Layout LayOut(const std::vector<Run>& runs);

// Of one part by itself, all of whose results are wanted.
std::vector<Run> OneRun(const Manifest& part);

class Workspace {
 public:
  explicit Workspace(Layout layout)
      : layout_(std::move(layout)), block_(Mapping::Anonymous(layout_.bytes)) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // What a part computes in.
  void* scratch() const { return block_.data(); }

  // A tensor's memory, one for all who name it alike; it stays where it is.
  void* Tensor(const TensorSpec& spec);

 private:
  struct Named {
    TensorSpec spec;
    Mapping memory;
  };

  Layout layout_;
  Mapping block_;
  std::vector<Named> others_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_WORKSPACE_H_
