// SPDX-License-Identifier: Apache-2.0
//
// One run of the program on checked parts.

#include "run.h"

#include <algorithm>
#include <utility>
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

// What is run: its contract, where its inputs go, and a run, which takes so many milliseconds.
struct Runnable {
  const std::vector<TensorSpec>& inputs;
  std::vector<TensorSpec> outputs;
  Model* takes_inputs;
  double load_ms;
};

std::string ReportOf(const Options& options, const std::string& named, const Runnable& runnable,
                   const Samples& samples, const std::vector<double>& times) {
  std::string json = "{" + named;
  json += NumberMember("load_ms", runnable.load_ms);
  json += NumberMember("first_ms", times.front());
  // The first run allocates and wakes the threads: it is reported on its own.
  const bool warm = times.size() > 1;
  json += NumberMember("median_ms", Median({times.begin() + (warm ? 1 : 0), times.end()}));
  json += NumberMember("min_ms", *std::min_element(times.begin(), times.end()));
  json += ",\"runs\":" + Decimal(times.size());
  json += ",\"samples\":" + Decimal(samples.count);
  json += ",\"threads\":" + Decimal(Threads());
  json += OutputsMember(runnable.outputs, samples, !options.out.empty());
  return json + "}";
}

// `run` runs it once, and gives its milliseconds; `data` is where an output then is.
template <typename Run, typename Data>
std::string RunSamples(const Options& options, const std::string& named, const Samples& samples,
                       std::vector<NpyWriter> files, const Runnable& runnable, Run run,
                       Data data) {
  std::vector<double> times;
  for (int64_t sample = 0; sample < samples.count; ++sample) {
    LoadSample(samples, sample, runnable.inputs, runnable.takes_inputs);
    times.push_back(run());
    for (size_t i = 0; i < files.size(); ++i) {
      files[i].Append(data(i), runnable.outputs[i].bytes);
    }
  }
  if (options.repeat > 1) LoadSample(samples, 0, runnable.inputs, runnable.takes_inputs);
  for (int64_t i = 1; i < options.repeat; ++i) times.push_back(run());

  for (NpyWriter& file : files) file.Commit();
  return ReportOf(options, named, runnable, samples, times);
}

std::string Named(const Manifest& manifest) { return "\"part\":" + JsonQuote(manifest.part); }

}  // namespace

std::string RunPart(const Options& options, const Part& part) {
  const Manifest& manifest = part.manifest();
  CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  const Samples samples = OpenSamples(manifest.inputs, options.inputs);
  std::vector<NpyWriter> files = CreateOutputs(manifest.outputs, samples, options.out);
  SetThreads(static_cast<int>(options.threads));
  Workspace workspace(LayOut(OneRun(manifest)));
  Model model(part, &workspace);
  const Runnable runnable{manifest.inputs, manifest.outputs, &model, model.load_ms()};
  return RunSamples(
      options, Named(manifest), samples, std::move(files), runnable, [&] { return model.Run(); },
      [&](size_t i) { return model.OutputData(i); });
}

std::string RunRoute(const Options& options, const HeadParts& parts) {
  parts.CheckCpus();
  const Remote& remote = parts.routes().front();
  const Manifest& first = parts.parts().front()->manifest();
  std::vector<TensorSpec> outputs = remote.crosses;
  const auto is_there = [&outputs](const std::string& name) {
    return std::any_of(outputs.begin(), outputs.end(),
                       [&name](const TensorSpec& one) { return one.name == name; });
  };
  for (const std::string& name : remote.outputs) {
    const TensorSpec* own = parts.Find(0, name);
    if (own != nullptr && !is_there(name)) outputs.push_back(*own);
  }
  const Samples samples = OpenSamples(first.inputs, options.inputs);
  std::vector<NpyWriter> files = CreateOutputs(outputs, samples, options.out);
  SetThreads(static_cast<int>(options.threads));
  Head head(parts);
  const Runnable runnable{first.inputs, outputs, head.first(), head.load_ms()};
  return RunSamples(
      options, Named(first) + ",\"route\":" + JsonQuote(remote.name), samples, std::move(files),
      runnable, [&] { return head.Run(0); },
      [&](size_t i) { return head.Data(runnable.outputs[i]); });
}

}  // namespace splitc
