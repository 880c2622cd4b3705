// SPDX-License-Identifier: Apache-2.0
//
// The largest tensor first, each as low as it may lie.

#include "workspace.h"

#include <algorithm>

#include "error.h"

namespace splitc {
namespace {

constexpr uint64_t kAlignment = 4096;

uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The steps of one run at which a tensor holds something that is wanted; none where it is not
// made there.
struct Span {
  size_t run;
  size_t first;
  size_t last;
};

struct Tensor {
  TensorSpec spec;
  std::vector<Span> spans;
  uint64_t floor = 0;  // what parts compute in meanwhile
  uint64_t offset = 0;
};

bool Reads(const Manifest& part, const TensorSpec& tensor) {
  return std::any_of(part.inputs.begin(), part.inputs.end(),
                     [&tensor](const TensorSpec& one) { return SameTensor(one, tensor); });
}

Span SpanOf(const TensorSpec& tensor, const std::vector<Run>& runs, size_t run, size_t made) {
  Span span{run, made, made};
  const Run& steps = runs[run];
  for (size_t step = made + 1; step < steps.parts.size(); ++step) {
    if (Reads(*steps.parts[step], tensor)) span.last = step;
  }
  for (const TensorSpec* kept : steps.kept) {
    if (SameTensor(*kept, tensor)) span.last = steps.parts.size();
  }
  return span;
}

bool Meet(const Tensor& a, const Tensor& b) {
  for (const Span& one : a.spans) {
    for (const Span& other : b.spans) {
      if (one.run == other.run && one.first <= other.last && other.first <= one.last) return true;
    }
  }
  return false;
}

std::vector<Tensor> TensorsOf(const std::vector<Run>& runs) {
  std::vector<Tensor> tensors;
  for (size_t run = 0; run < runs.size(); ++run) {
    for (size_t step = 0; step < runs[run].parts.size(); ++step) {
      for (const TensorSpec& spec : runs[run].parts[step]->outputs) {
        auto it = std::find_if(tensors.begin(), tensors.end(), [&spec](const Tensor& one) {
          return SameTensor(one.spec, spec);
        });
        if (it == tensors.end()) it = tensors.insert(it, Tensor{spec, {}, 0, 0});
        const Span span = SpanOf(spec, runs, run, step);
        it->spans.push_back(span);
        for (size_t at = span.first; at < std::min(span.last + 1, runs[run].parts.size()); ++at) {
          it->floor = std::max(it->floor, runs[run].parts[at]->activation_bytes);
        }
      }
    }
  }
  return tensors;
}

}  // namespace

Layout LayOut(const std::vector<Run>& runs) {
  Layout layout;
  for (const Run& run : runs) {
    for (const Manifest* part : run.parts) {
      layout.bytes = std::max(layout.bytes, part->activation_bytes);
    }
  }
  std::vector<Tensor> tensors = TensorsOf(runs);
  std::sort(tensors.begin(), tensors.end(),
            [](const Tensor& a, const Tensor& b) { return a.spec.bytes > b.spec.bytes; });
  std::vector<const Tensor*> lower;  // those that have a place, from the lowest one up
  for (Tensor& tensor : tensors) {
    tensor.offset = Aligned(tensor.floor);
    for (const Tensor* other : lower) {
      const bool over = tensor.offset < other->offset + other->spec.bytes &&
                        other->offset < tensor.offset + tensor.spec.bytes;
      if (over && Meet(tensor, *other)) tensor.offset = Aligned(other->offset + other->spec.bytes);
    }
    layout.bytes = std::max(layout.bytes, tensor.offset + tensor.spec.bytes);
    if (layout.bytes > kMaxMemoryBytes) FailPlainly("splitc-run: memory: not enough\n");
    layout.placed.push_back({tensor.spec, tensor.offset});
    lower.insert(std::upper_bound(lower.begin(), lower.end(), &tensor,
                                  [](const Tensor* a, const Tensor* b) {
                                    return a->offset < b->offset;
                                  }),
                 &tensor);
  }
  return layout;
}

std::vector<Run> OneRun(const Manifest& part) {
  Run run;
  run.parts.push_back(&part);
  for (const TensorSpec& output : part.outputs) run.kept.push_back(&output);
  return {run};
}

void* Workspace::Tensor(const TensorSpec& spec) {
  for (const Layout::Placed& one : layout_.placed) {
    if (SameTensor(one.spec, spec)) return static_cast<uint8_t*>(block_.data()) + one.offset;
  }
  for (const Named& one : others_) {
    if (SameTensor(one.spec, spec)) return one.memory.data();
  }
  others_.push_back({spec, Mapping::Anonymous(spec.bytes)});
  return others_.back().memory.data();
}

}  // namespace splitc
