// SPDX-License-Identifier: Apache-2.0
//
// Parts beside one another, and the routes over them.

#include "head.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "cpu.h"
#include "error.h"

namespace splitc {
namespace {

const TensorSpec* Named(const std::vector<TensorSpec>& tensors, const std::string& name) {
  for (const TensorSpec& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

// What each route runs, and what of it is sent or is a result.
std::vector<Run> RunsOf(const HeadParts& parts) {
  std::vector<Run> runs;
  for (size_t route = 0; route < parts.routes().size(); ++route) {
    const Remote& remote = parts.routes()[route];
    Run& run = runs.emplace_back();
    for (const size_t i : parts.RunBy(route)) run.parts.push_back(&parts.parts()[i]->manifest());
    for (const TensorSpec& tensor : remote.crosses) run.kept.push_back(&tensor);
    for (const std::string& name : remote.outputs) {
      if (const TensorSpec* own = parts.Find(route, name)) run.kept.push_back(own);
    }
  }
  return runs;
}

[[noreturn]] void BadRoute(const std::string& route, const std::string& why) {
  Fail(ExitCode::kBadInput, "route \"" + route + "\"", why);
}

}  // namespace

HeadParts::HeadParts(const Part& first, std::vector<Remote> routes)
    : routes_(std::move(routes)), parts_{&first} {
  for (const Remote& remote : routes_) {
    std::vector<size_t>& run = runs_.emplace_back();
    for (const std::string& name : remote.runs) run.push_back(Open(name, remote.name));
  }
  for (size_t route = 0; route < routes_.size(); ++route) CheckRoute(route);
}

size_t HeadParts::Open(const std::string& name, const std::string& route) {
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (parts_[i]->manifest().part == name) return i;
  }
  const Part& first = *parts_[0];
  const std::string folder = first.Beside(name);
  struct stat st;
  // No link: what is checked is what lies there.
  if (lstat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
    Fail(ExitCode::kBadInput, folder,
         "is no folder, but route \"" + route + "\" runs the part in it: copy it beside " +
             first.manifest().part);
  }
  beside_.push_back(std::make_unique<Part>(folder, name));
  const Manifest& manifest = beside_.back()->manifest();
  if (manifest.part != name) {
    Fail(ExitCode::kBadInput, folder, "holds \"" + manifest.part + "\" and not \"" + name + "\"");
  }
  if (manifest.split != first.manifest().split) {
    Fail(ExitCode::kBadInput, folder, "is of another bundle than " + first.manifest().part);
  }
  parts_.push_back(beside_.back().get());
  return parts_.size() - 1;
}

// Each part finds what it reads, by name, among what those before it made.
void HeadParts::CheckRoute(size_t route) const {
  const Remote& remote = routes_[route];
  std::vector<TensorSpec> known = parts_[runs_[route][0]]->manifest().inputs;
  const auto has = [&known](const TensorSpec& wanted) {
    return std::any_of(known.begin(), known.end(),
                       [&wanted](const TensorSpec& one) { return SameTensor(one, wanted); });
  };
  for (const size_t i : runs_[route]) {
    const Manifest& manifest = parts_[i]->manifest();
    for (const TensorSpec& input : manifest.inputs) {
      if (!has(input)) {
        BadRoute(remote.name, manifest.part + " reads \"" + input.name +
                                  "\", which no part before it makes so");
      }
    }
    for (const TensorSpec& output : manifest.outputs) {
      if (Named(manifest.inputs, output.name) != nullptr && runs_[route].size() > 1) {
        BadRoute(remote.name, manifest.part + " makes \"" + output.name + "\", which it reads");
      }
      known.push_back(output);
    }
  }
  for (const TensorSpec& tensor : remote.crosses) {
    if (!has(tensor)) {
      BadRoute(remote.name, "\"" + tensor.name + "\" crosses, but no part makes it so");
    }
  }
}

const TensorSpec* HeadParts::Find(size_t route, const std::string& name) const {
  const std::vector<size_t>& runs = runs_[route];
  for (size_t i = runs.size(); i-- > 0;) {
    const TensorSpec* found = Named(parts_[runs[i]]->manifest().outputs, name);
    if (found != nullptr) return found;
  }
  return Named(parts_[runs[0]]->manifest().inputs, name);
}

void HeadParts::CheckCpus() const {
  for (const Part* part : parts_) {
    const Manifest& manifest = part->manifest();
    CheckCpu(manifest.isa, manifest.cpu, manifest.features);
  }
}

size_t HeadParts::files() const {
  size_t files = 0;
  for (const Part* part : parts_) files += part->manifest().files.size();
  return files;
}

Head::Head(const HeadParts& parts) : parts_(parts), workspace_(LayOut(RunsOf(parts))) {
  for (const Part* part : parts_.parts()) {
    models_.push_back(std::make_unique<Model>(*part, &workspace_));
  }
}

double Head::Run(size_t route) {
  double ms = 0;
  for (const size_t i : parts_.RunBy(route)) ms += models_[i]->Run();
  return ms;
}

double Head::load_ms() const {
  double ms = 0;
  for (const auto& model : models_) ms += model->load_ms();
  return ms;
}

}  // namespace splitc
