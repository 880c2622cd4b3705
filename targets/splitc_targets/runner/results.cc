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

Results::Results(const HeadParts& parts) {
  for (size_t route = 0; route < parts.routes().size(); ++route) AddRoute(parts, route);
  for (const TensorSpec& spec : specs_) {
    offsets_.push_back(bytes_);
    bytes_ += spec.bytes;
  }
}

void Results::AddRoute(const HeadParts& parts, size_t route) {
  const Remote& remote = parts.routes()[route];
  Route& added = routes_.emplace_back();
  added.answer_bytes = BytesBefore(remote.results, remote.results.size());
  std::vector<TensorSpec> specs;
  for (const std::string& name : remote.outputs) {
    Source& source = added.sources.emplace_back();
    const size_t there = PlaceOf(remote.results, name);
    if (there < remote.results.size()) {
      source.offset = BytesBefore(remote.results, there);
      specs.push_back(remote.results[there]);
      continue;
    }
    source.own = parts.Find(route, name);
    if (source.own == nullptr) {
      Fail(ExitCode::kBadInput, kManifestName, "nothing makes the result \"" + name + "\"");
    }
    specs.push_back(*source.own);
  }
  if (route == 0) specs_ = specs;
  if (!std::equal(specs.begin(), specs.end(), specs_.begin(), specs_.end(), SameContract)) {
    Fail(ExitCode::kBadInput, kManifestName,
         "route \"" + remote.name + "\" has other results than \"" + parts.routes()[0].name + "\"");
  }
}

void Results::CopyOwn(size_t route, Head* head, uint8_t* results) const {
  for (size_t i = 0; i < specs_.size(); ++i) {
    const TensorSpec* own = routes_[route].sources[i].own;
    if (own != nullptr) std::copy_n(head->Data(*own), own->bytes, results + offsets_[i]);
  }
}

void Results::CopyAnswer(size_t route, const std::vector<uint8_t>& answer,
                         uint8_t* results) const {
  for (size_t i = 0; i < specs_.size(); ++i) {
    const Source& source = routes_[route].sources[i];
    if (source.own != nullptr) continue;
    std::copy_n(answer.data() + source.offset, specs_[i].bytes, results + offsets_[i]);
  }
}

void Results::CopyInstead(size_t route, const uint8_t* other, uint8_t* results) const {
  for (size_t i = 0; i < specs_.size(); ++i) {
    if (routes_[route].sources[i].own != nullptr) continue;
    std::copy_n(other + offsets_[i], specs_[i].bytes, results + offsets_[i]);
  }
}

Whole::Whole(const std::string& folder, const std::vector<TensorSpec>& inputs,
             const Results& results)
    : part_(folder), workspace_(LayOut(OneRun(part_.manifest()))) {
  const Manifest& manifest = part_.manifest();
  CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  if (!std::equal(inputs.begin(), inputs.end(), manifest.inputs.begin(), manifest.inputs.end(),
                  SameContract)) {
    Fail(ExitCode::kBadInput, folder, "does not take the head's inputs");
  }
  for (const TensorSpec& spec : results.specs()) {
    const size_t place = PlaceOf(manifest.outputs, spec.name);
    if (place == manifest.outputs.size() || manifest.outputs[place].bytes != spec.bytes) {
      Fail(ExitCode::kBadInput, folder, "does not make \"" + spec.name + "\"");
    }
    outputs_.push_back(place);
  }
  model_ = std::make_unique<Model>(part_, &workspace_);
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
