// SPDX-License-Identifier: Apache-2.0
//
// A part's inputs and results as .npy files: one sample, or several stacked along one more
// leading dimension.

#ifndef SPLITC_RUNNER_SAMPLES_H_
#define SPLITC_RUNNER_SAMPLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "manifest.h"
#include "model.h"
#include "npy.h"

namespace splitc {

struct Samples {
  std::vector<NpyReader> files;
  int64_t count = 1;
  bool stacked = false;
};

// The first input decides whether the samples are stacked, and how many there
// are; every other one must then agree.
Samples OpenSamples(const std::vector<TensorSpec>& specs, const std::vector<std::string>& paths);

void LoadSample(const Samples& samples, int64_t sample, const std::vector<TensorSpec>& specs,
                Model* model);

// A file for each result in the folder, none where it is empty.
std::vector<NpyWriter> CreateOutputs(const std::vector<TensorSpec>& specs, const Samples& samples,
                                     const std::string& folder);

// `,"outputs":[...]` of a report.
std::string OutputsMember(const std::vector<TensorSpec>& specs, const Samples& samples,
                          bool written);

}  // namespace splitc

#endif  // SPLITC_RUNNER_SAMPLES_H_
