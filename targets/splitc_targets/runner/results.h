// SPDX-License-Identifier: Apache-2.0
//
// The network's results on a device: some come back from the server, the others the head makes.

#ifndef SPLITC_RUNNER_RESULTS_H_
#define SPLITC_RUNNER_RESULTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "manifest.h"
#include "model.h"
#include "part.h"
#include "samples.h"

namespace splitc {

// A frame's results lie as in its answer, and behind that those that the head makes.
class Results {
 public:
  // Fails (kBadInput) where there is a result that neither makes.
  Results(const Manifest& head, const Remote& remote);

  uint64_t answer_bytes() const { return answer_bytes_; }
  uint64_t bytes() const { return bytes_; }
  // In the network's order.
  const std::vector<TensorSpec>& specs() const { return specs_; }
  uint64_t OffsetOf(size_t result) const { return offsets_[result]; }

  // Copies what the head made behind the answer.
  void CopyOwn(const Model& head, uint8_t* results) const;

 private:
  uint64_t answer_bytes_ = 0;
  uint64_t bytes_ = 0;
  std::vector<TensorSpec> specs_;
  std::vector<uint64_t> offsets_;
  std::vector<size_t> own_;  // outputs of the head that are results
};

// The whole network on the device, for when the server is silent.
class Whole {
 public:
  // Fails (kBadInput) unless it computes those results from the head's inputs.
  Whole(const std::string& folder, const Manifest& head, const Results& results);

  void Run(const Samples& samples, int64_t sample, const Results& results, uint8_t* to);

 private:
  Part part_;
  std::vector<size_t> outputs_;  // by result
  std::unique_ptr<Model> model_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_RESULTS_H_
