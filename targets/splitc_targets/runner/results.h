// SPDX-License-Identifier: Apache-2.0
//
// The network's results on a device: on each route some come back from the server, the others
// the head makes.

#ifndef SPLITC_RUNNER_RESULTS_H_
#define SPLITC_RUNNER_RESULTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "head.h"
#include "manifest.h"
#include "model.h"
#include "part.h"
#include "samples.h"
#include "workspace.h"

namespace splitc {

// A frame's results lie one after another, in the network's order.
class Results {
 public:
  // Fails (kBadInput) where there is a result that neither makes, or that is another on one
  // route than on another. `parts` must outlive it.
  explicit Results(const HeadParts& parts);

  uint64_t bytes() const { return bytes_; }
  uint64_t answer_bytes(size_t route) const { return routes_[route].answer_bytes; }
  // In the network's order.
  const std::vector<TensorSpec>& specs() const { return specs_; }
  uint64_t OffsetOf(size_t result) const { return offsets_[result]; }

  // Copies what the head made of a frame's results.
  void CopyOwn(size_t route, Head* head, uint8_t* results) const;
  // Copies what came from the server.
  void CopyAnswer(size_t route, const std::vector<uint8_t>& answer, uint8_t* results) const;
  // Copies what should have come from the server, out of other results.
  void CopyInstead(size_t route, const uint8_t* other, uint8_t* results) const;

 private:
  // Where a result comes from: its place in the answer, or a tensor of the head's.
  struct Source {
    uint64_t offset = 0;
    const TensorSpec* own = nullptr;
  };
  struct Route {
    uint64_t answer_bytes = 0;
    std::vector<Source> sources;  // by result
  };

  void AddRoute(const HeadParts& parts, size_t route);

  std::vector<TensorSpec> specs_;
  std::vector<uint64_t> offsets_;
  uint64_t bytes_ = 0;
  std::vector<Route> routes_;
};

// The whole network on the device, for when the server is silent.
class Whole {
 public:
  // Fails (kBadInput) unless it computes those results from those inputs.
  Whole(const std::string& folder, const std::vector<TensorSpec>& inputs, const Results& results);

  void Run(const Samples& samples, int64_t sample, const Results& results, uint8_t* to);

 private:
  Part part_;
  Workspace workspace_;
  std::vector<size_t> outputs_;  // by result
  std::unique_ptr<Model> model_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_RESULTS_H_
