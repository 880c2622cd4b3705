// SPDX-License-Identifier: Apache-2.0
//
// Percentiles of what was measured last.

#ifndef SPLITC_RUNNER_TIMINGS_H_
#define SPLITC_RUNNER_TIMINGS_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace splitc {

class Timings {
 public:
  void Add(double value) {
    if (values_.size() < kKept) {
      values_.push_back(value);
    } else {
      values_[count_ % kKept] = value;
    }
    ++count_;
  }

  // Of values in their order, the one that a share of them lies below; 0 of none.
  double Percentile(double share) {
    if (values_.empty()) return 0;
    // Any comparison but the default one, whose code is in the library and not in the headers.
    std::sort(values_.begin(), values_.end(), [](double a, double b) { return a < b; });
    const double place = share * static_cast<double>(values_.size() - 1);
    return values_[static_cast<size_t>(place + 0.5)];
  }

 private:
  // A session may last for days.
  static constexpr size_t kKept = 1 << 16;
  std::vector<double> values_;
  size_t count_ = 0;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_TIMINGS_H_
