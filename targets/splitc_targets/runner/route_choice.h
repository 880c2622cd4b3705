// SPDX-License-Identifier: Apache-2.0
//
// Which routes a user wants of a head, and how that of a frame is chosen: --route, --policy.

#ifndef SPLITC_RUNNER_ROUTE_CHOICE_H_
#define SPLITC_RUNNER_ROUTE_CHOICE_H_

#include <string>
#include <vector>

#include "manifest.h"
#include "options.h"
#include "plan.h"
#include "policy.h"

namespace splitc {

struct RouteChoice {
  enum class Kind { kTurns, kAdaptive, kPlan };

  Kind kind = Kind::kTurns;
  std::vector<std::string> turns;  // frames take these routes one after another
  Adaptive adaptive;
  std::vector<PlanCondition> plan;  // of a plan, those with the least memory stress
};

// What the flags say; where they say nothing: adaptive where a head has several routes. Fails
// (kUsage) for a name that no route has, and kBadInput where the part is no head.
RouteChoice ParseRouteChoice(const Options& options, const Manifest& head);

// The routes that frames may take then, in the manifest's order: parts of others need not be
// there.
std::vector<Remote> RoutesOf(const RouteChoice& choice, const Manifest& head);

}  // namespace splitc

#endif  // SPLITC_RUNNER_ROUTE_CHOICE_H_
