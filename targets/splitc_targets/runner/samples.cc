// SPDX-License-Identifier: Apache-2.0
//
// A part's inputs and results as .npy files.

#include "samples.h"

#include <algorithm>

#include "error.h"
#include "json.h"
#include "text.h"

namespace splitc {
namespace {

// Bounds the table of timings.
constexpr int64_t kMaxSamples = 1000000;

Shape Stacked(int64_t count, const Shape& shape) {
  Shape stacked{count};
  stacked.insert(stacked.end(), shape.begin(), shape.end());
  return stacked;
}

std::string OutputFile(size_t i) { return Decimal(i) + ".npy"; }

}  // namespace

Samples OpenSamples(const std::vector<TensorSpec>& specs, const std::vector<std::string>& paths) {
  if (paths.size() != specs.size()) {
    Fail(ExitCode::kBadInput, "inputs",
         Decimal(paths.size()) + " given, but the part takes " +
             Decimal(specs.size()));
  }
  Samples samples;
  for (size_t i = 0; i < specs.size(); ++i) {
    const NpyReader& file = samples.files.emplace_back(paths[i]);
    const Shape& shape = file.shape();
    if (i == 0 && shape.size() == specs[i].shape.size() + 1) {
      samples.stacked = true;
      samples.count = shape[0];
    }
    const Shape wanted =
        samples.stacked ? Stacked(samples.count, specs[i].shape) : specs[i].shape;
    if (&file.dtype() != specs[i].dtype || shape != wanted) {
      Fail(ExitCode::kBadInput, file.path(),
           std::string("is ") + file.dtype().name + ShapeText(shape) + ", but input \"" +
               specs[i].name + "\" is " + specs[i].dtype->name + ShapeText(wanted));
    }
  }
  if (samples.count < 1) Fail(ExitCode::kBadInput, samples.files[0].path(), "holds no samples");
  if (samples.count > kMaxSamples) {
    Fail(ExitCode::kBadInput, samples.files[0].path(), "holds too many samples");
  }
  return samples;
}

std::vector<NpyWriter> CreateOutputs(const std::vector<TensorSpec>& specs, const Samples& samples,
                                     const std::string& folder) {
  std::vector<NpyWriter> outputs;
  if (folder.empty()) return outputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    const Shape& shape = specs[i].shape;
    outputs.emplace_back(folder, OutputFile(i), *specs[i].dtype,
                         samples.stacked ? Stacked(samples.count, shape) : shape);
  }
  return outputs;
}

void LoadSample(const Samples& samples, int64_t sample, const std::vector<TensorSpec>& specs,
                Model* model) {
  for (size_t i = 0; i < specs.size(); ++i) {
    uint8_t* data = static_cast<uint8_t*>(model->InputData(i));
    const uint64_t bytes = specs[i].bytes;
    samples.files[i].Read(data, bytes, static_cast<uint64_t>(sample) * bytes);
    // Compiled code may take for granted that a bool is 0 or 1.
    const auto is_bad_bool = [](uint8_t b) { return b > 1; };
    if (specs[i].dtype->npy_kind == 'b' && std::any_of(data, data + bytes, is_bad_bool)) {
      Fail(ExitCode::kBadInput, samples.files[i].path(), "has a bool that is neither 0 nor 1");
    }
  }
}

std::string OutputsMember(const std::vector<TensorSpec>& specs, const Samples& samples,
                          bool written) {
  std::string json = ",\"outputs\":[";
  for (size_t i = 0; i < specs.size(); ++i) {
    const Shape& shape = specs[i].shape;
    if (i > 0) json += ',';
    json += "{\"name\":" + JsonQuote(specs[i].name) + ",\"dtype\":\"" + specs[i].dtype->name +
            "\",\"shape\":" + ShapeText(samples.stacked ? Stacked(samples.count, shape) : shape) +
            ",\"file\":" + (written ? JsonQuote(OutputFile(i)) : "null") + "}";
  }
  return json + "]";
}

}  // namespace splitc
