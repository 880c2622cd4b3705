// SPDX-License-Identifier: Apache-2.0
//
// A plan of `splitc plan`: which route each condition wants (splitc.search.plan_file).

#ifndef SPLITC_RUNNER_PLAN_H_
#define SPLITC_RUNNER_PLAN_H_

#include <string>
#include <string_view>
#include <vector>

namespace splitc {

struct PlanCondition {
  double cpu = 0;     // share of the device's processor that others take
  double memory = 0;  // and of its memory's bandwidth
  double bandwidth_bps = 0;
  std::string route;
};

// The conditions of a plan, at least one. Fails (kUsage) for what is none; `path` is for messages.
std::vector<PlanCondition> ParsePlan(std::string_view text, const std::string& path);

// The same of a file.
std::vector<PlanCondition> ReadPlan(const std::string& path);

}  // namespace splitc

#endif  // SPLITC_RUNNER_PLAN_H_
