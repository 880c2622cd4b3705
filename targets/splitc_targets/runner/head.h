// SPDX-License-Identifier: Apache-2.0
//
// The device's side of a split network: its parts, and the routes over them.

#ifndef SPLITC_RUNNER_HEAD_H_
#define SPLITC_RUNNER_HEAD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "manifest.h"
#include "model.h"
#include "part.h"
#include "workspace.h"

namespace splitc {

// A head's parts, checked: the first, and those in the folders beside it that routes run.
class HeadParts {
 public:
  // `first` must outlive it. Fails (kBadInput) where a part is missing, or of another split, and
  // where one on a route reads what none before it makes, or what crosses is not there.
  HeadParts(const Part& first, std::vector<Remote> routes);

  const std::vector<Remote>& routes() const { return routes_; }
  const std::vector<const Part*>& parts() const { return parts_; }
  // Which parts a route runs, in order.
  const std::vector<size_t>& RunBy(size_t route) const { return runs_[route]; }
  // What the parts of a route make, or are given, of that name; null where there is no such.
  const TensorSpec* Find(size_t route, const std::string& name) const;
  // Fails (kCannotLoad) where this machine cannot run one.
  void CheckCpus() const;
  // Files that were checked.
  size_t files() const;

 private:
  size_t Open(const std::string& name, const std::string& route);
  void CheckRoute(size_t route) const;

  std::vector<Remote> routes_;
  std::vector<const Part*> parts_;
  std::vector<std::unique_ptr<Part>> beside_;
  std::vector<std::vector<size_t>> runs_;
};

// Its parts loaded, each once.
class Head {
 public:
  // `parts` must outlive it.
  explicit Head(const HeadParts& parts);

  const std::vector<TensorSpec>& inputs() const { return parts_.parts()[0]->manifest().inputs; }
  // Where the network's inputs go.
  Model* first() { return models_[0].get(); }
  // Runs a route's parts. Returns their time alone, in milliseconds.
  double Run(size_t route);
  // What a part made, until one makes it again.
  const uint8_t* Data(const TensorSpec& tensor) {
    return static_cast<const uint8_t*>(workspace_.Tensor(tensor));
  }
  // Time to load all of them, in milliseconds.
  double load_ms() const;

 private:
  const HeadParts& parts_;
  Workspace workspace_;
  std::vector<std::unique_ptr<Model>> models_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_HEAD_H_
