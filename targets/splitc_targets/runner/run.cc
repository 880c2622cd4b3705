// SPDX-License-Identifier: Apache-2.0
//
// One run of the program on a checked part.

#include "run.h"

#include <algorithm>
#include <vector>

#include "cpu.h"
#include "error.h"
#include "json.h"
#include "model.h"
#include "pool.h"
#include "samples.h"
#include "text.h"

namespace splitc {
namespace {

double Median(std::vector<double> values) {
  // Any comparison but the default one, whose code is in the library and not in the headers.
  std::sort(values.begin(), values.end(), [](double a, double b) { return a < b; });
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::string Report(const Options& options, const Manifest& manifest, const Samples& samples,
                   double load_ms, const std::vector<double>& times) {
  std::string json = "{\"part\":" + JsonQuote(manifest.part);
  json += NumberMember("load_ms", load_ms);
  json += NumberMember("first_ms", times.front());
  // The first run allocates and wakes the threads: it is reported on its own.
  const bool warm = times.size() > 1;
  json += NumberMember("median_ms", Median({times.begin() + (warm ? 1 : 0), times.end()}));
  json += NumberMember("min_ms", *std::min_element(times.begin(), times.end()));
  json += ",\"runs\":" + Decimal(times.size());
  json += ",\"samples\":" + Decimal(samples.count);
  json += ",\"threads\":" + Decimal(Threads());
  json += OutputsMember(manifest.outputs, samples, !options.out.empty());
  return json + "}";
}

}  // namespace

std::string RunPart(const Options& options, const Part& part) {
  const Manifest& manifest = part.manifest();
  CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  const Samples samples = OpenSamples(manifest.inputs, options.inputs);
  std::vector<NpyWriter> outputs = CreateOutputs(manifest.outputs, samples, options.out);
  SetThreads(static_cast<int>(options.threads));
  Model model(part);

  std::vector<double> times;
  for (int64_t sample = 0; sample < samples.count; ++sample) {
    LoadSample(samples, sample, manifest.inputs, &model);
    times.push_back(model.Run());
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputs[i].Append(model.OutputData(i), manifest.outputs[i].bytes);
    }
  }
  if (options.repeat > 1) LoadSample(samples, 0, manifest.inputs, &model);
  for (int64_t i = 1; i < options.repeat; ++i) times.push_back(model.Run());

  for (NpyWriter& output : outputs) output.Commit();
  return Report(options, manifest, samples, model.load_ms(), times);
}

}  // namespace splitc
