// SPDX-License-Identifier: Apache-2.0
//
// Where each of the network's results is.

#include "results.h"

#include <algorithm>

#include "cpu.h"
#include "error.h"

namespace splitc {
namespace {

// The place of the tensor of that name; their number where there is none.
size_t PlaceOf(const std::vector<TensorSpec>& tensors, const std::string& name) {
  const auto named = [&name](const TensorSpec& tensor) { return tensor.name == name; };
  return static_cast<size_t>(std::find_if(tensors.begin(), tensors.end(), named) -
                             tensors.begin());
}

bool SameContract(const TensorSpec& a, const TensorSpec& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape;
}

uint64_t BytesBefore(const std::vector<TensorSpec>& tensors, size_t place) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < place; ++i) bytes += tensors[i].bytes;
  return bytes;
}

}  // namespace

Results::Results(const Manifest& head, const Remote& remote)
    : answer_bytes_(BytesBefore(remote.results, remote.results.size())), bytes_(answer_bytes_) {
  for (const std::string& name : remote.outputs) {
    const size_t there = PlaceOf(remote.results, name);
    if (there < remote.results.size()) {
      specs_.push_back(remote.results[there]);
      offsets_.push_back(BytesBefore(remote.results, there));
      continue;
    }
    const size_t here = PlaceOf(head.outputs, name);
    if (here == head.outputs.size()) {
      Fail(ExitCode::kBadInput, kManifestName, "nothing makes the result \"" + name + "\"");
    }
    specs_.push_back(head.outputs[here]);
    offsets_.push_back(bytes_);
    own_.push_back(here);
    bytes_ += head.outputs[here].bytes;
  }
}

void Results::CopyOwn(const Model& head, uint8_t* results) const {
  size_t at = 0;
  for (size_t i = 0; i < specs_.size(); ++i) {
    if (offsets_[i] < answer_bytes_) continue;
    const auto* data = static_cast<const uint8_t*>(head.OutputData(own_[at++]));
    std::copy_n(data, specs_[i].bytes, results + offsets_[i]);
  }
}

Whole::Whole(const std::string& folder, const Manifest& head, const Results& results)
    : part_(folder) {
  const Manifest& manifest = part_.manifest();
  CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  if (!std::equal(head.inputs.begin(), head.inputs.end(), manifest.inputs.begin(),
                  manifest.inputs.end(), SameContract)) {
    Fail(ExitCode::kBadInput, folder, "does not take the head's inputs");
  }
  for (const TensorSpec& spec : results.specs()) {
    const size_t place = PlaceOf(manifest.outputs, spec.name);
    if (place == manifest.outputs.size() || manifest.outputs[place].bytes != spec.bytes) {
      Fail(ExitCode::kBadInput, folder, "does not make \"" + spec.name + "\"");
    }
    outputs_.push_back(place);
  }
  model_ = std::make_unique<Model>(part_);
}

void Whole::Run(const Samples& samples, int64_t sample, const Results& results, uint8_t* to) {
  LoadSample(samples, sample, part_.manifest().inputs, model_.get());
  model_->Run();
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const auto* data = static_cast<const uint8_t*>(model_->OutputData(outputs_[i]));
    std::copy_n(data, results.specs()[i].bytes, to + results.OffsetOf(i));
  }
}

}  // namespace splitc
