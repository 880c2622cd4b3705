// SPDX-License-Identifier: Apache-2.0
//
// One run of the program on a checked part.

#include "run.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "cpu.h"
#include "error.h"
#include "json.h"
#include "model.h"
#include "npy.h"
#include "pool.h"
#include "text.h"

namespace splitc {
namespace {

// Bounds the table of timings.
constexpr int64_t kMaxSamples = 1000000;

struct Inputs {
  std::vector<NpyReader> files;
  int64_t samples = 1;
  bool stacked = false;
};

Shape Stacked(int64_t samples, const Shape& shape) {
  Shape stacked{samples};
  stacked.insert(stacked.end(), shape.begin(), shape.end());
  return stacked;
}

// The first input decides whether the samples are stacked, and how many there
// are; every other one must then agree.
Inputs OpenInputs(const std::vector<TensorSpec>& specs, const std::vector<std::string>& paths) {
  if (paths.size() != specs.size()) {
    Fail(ExitCode::kBadInput, "inputs",
         Decimal(paths.size()) + " given, but the part takes " +
             Decimal(specs.size()));
  }
  Inputs inputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    const NpyReader& file = inputs.files.emplace_back(paths[i]);
    const Shape& shape = file.shape();
    if (i == 0 && shape.size() == specs[i].shape.size() + 1) {
      inputs.stacked = true;
      inputs.samples = shape[0];
    }
    const Shape wanted =
        inputs.stacked ? Stacked(inputs.samples, specs[i].shape) : specs[i].shape;
    if (&file.dtype() != specs[i].dtype || shape != wanted) {
      Fail(ExitCode::kBadInput, file.path(),
           std::string("is ") + file.dtype().name + ShapeText(shape) + ", but input \"" +
               specs[i].name + "\" is " + specs[i].dtype->name + ShapeText(wanted));
    }
  }
  if (inputs.samples < 1) Fail(ExitCode::kBadInput, inputs.files[0].path(), "holds no samples");
  if (inputs.samples > kMaxSamples) {
    Fail(ExitCode::kBadInput, inputs.files[0].path(), "holds too many samples");
  }
  return inputs;
}

std::string OutputFile(size_t i) { return Decimal(i) + ".npy"; }

std::vector<NpyWriter> CreateOutputs(const std::vector<TensorSpec>& specs, const Inputs& inputs,
                                     const std::string& folder) {
  std::vector<NpyWriter> outputs;
  if (folder.empty()) return outputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    const Shape& shape = specs[i].shape;
    outputs.emplace_back(folder, OutputFile(i), *specs[i].dtype,
                         inputs.stacked ? Stacked(inputs.samples, shape) : shape);
  }
  return outputs;
}

void LoadSample(const Inputs& inputs, int64_t sample, const std::vector<TensorSpec>& specs,
                Model* model) {
  for (size_t i = 0; i < specs.size(); ++i) {
    uint8_t* data = static_cast<uint8_t*>(model->InputData(i));
    const uint64_t bytes = specs[i].bytes;
    inputs.files[i].Read(data, bytes, static_cast<uint64_t>(sample) * bytes);
    // Compiled code may take for granted that a bool is 0 or 1.
    const auto is_bad_bool = [](uint8_t b) { return b > 1; };
    if (specs[i].dtype->npy_kind == 'b' && std::any_of(data, data + bytes, is_bad_bool)) {
      Fail(ExitCode::kBadInput, inputs.files[i].path(), "has a bool that is neither 0 nor 1");
    }
  }
}

double Median(std::vector<double> values) {
  // Any comparison but the default one, whose code is in the library and not in the headers.
  std::sort(values.begin(), values.end(), [](double a, double b) { return a < b; });
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::string NumberMember(const char* key, double milliseconds) {
  char text[64];
  std::snprintf(text, sizeof text, ",\"%s\":%.3f", key, milliseconds);
  return text;
}

std::string OutputsMember(const std::vector<TensorSpec>& specs, const Inputs& inputs,
                          bool written) {
  std::string json = ",\"outputs\":[";
  for (size_t i = 0; i < specs.size(); ++i) {
    const Shape& shape = specs[i].shape;
    if (i > 0) json += ',';
    json += "{\"name\":" + JsonQuote(specs[i].name) + ",\"dtype\":\"" + specs[i].dtype->name +
            "\",\"shape\":" + ShapeText(inputs.stacked ? Stacked(inputs.samples, shape) : shape) +
            ",\"file\":" + (written ? JsonQuote(OutputFile(i)) : "null") + "}";
  }
  return json + "]";
}

std::string Report(const Options& options, const Manifest& manifest, const Inputs& inputs,
                   double load_ms, const std::vector<double>& times) {
  std::string json = "{\"part\":" + JsonQuote(manifest.part);
  json += NumberMember("load_ms", load_ms);
  json += NumberMember("first_ms", times.front());
  // The first run allocates and wakes the threads: it is reported on its own.
  const bool warm = times.size() > 1;
  json += NumberMember("median_ms", Median({times.begin() + (warm ? 1 : 0), times.end()}));
  json += NumberMember("min_ms", *std::min_element(times.begin(), times.end()));
  json += ",\"runs\":" + Decimal(times.size());
  json += ",\"samples\":" + Decimal(inputs.samples);
  json += ",\"threads\":" + Decimal(Threads());
  json += OutputsMember(manifest.outputs, inputs, !options.out.empty());
  return json + "}";
}

}  // namespace

std::string RunPart(const Options& options, const Part& part) {
  const Manifest& manifest = part.manifest();
  CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  const Inputs inputs = OpenInputs(manifest.inputs, options.inputs);
  std::vector<NpyWriter> outputs = CreateOutputs(manifest.outputs, inputs, options.out);
  SetThreads(static_cast<int>(options.threads));
  Model model(part);

  std::vector<double> times;
  for (int64_t sample = 0; sample < inputs.samples; ++sample) {
    LoadSample(inputs, sample, manifest.inputs, &model);
    times.push_back(model.Run());
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputs[i].Append(model.OutputData(i), manifest.outputs[i].bytes);
    }
  }
  if (options.repeat > 1) LoadSample(inputs, 0, manifest.inputs, &model);
  for (int64_t i = 1; i < options.repeat; ++i) times.push_back(model.Run());

  for (NpyWriter& output : outputs) output.Commit();
  return Report(options, manifest, inputs, model.load_ms(), times);
}

}  // namespace splitc
