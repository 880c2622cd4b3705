// SPDX-License-Identifier: Apache-2.0
//
// Reads --route and --policy.

#include "route_choice.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "error.h"
#include "names.h"

namespace splitc {
namespace {

bool Has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> NamesOf(const Manifest& head) {
  std::vector<std::string> names;
  for (const Remote& remote : head.remote) names.push_back(remote.name);
  return names;
}

void CheckKnown(const std::string& option, const std::vector<std::string>& names,
                const std::vector<std::string>& known) {
  for (const std::string& name : names) {
    if (Has(known, name)) continue;
    Fail(ExitCode::kUsage, option,
         "no route is called \"" + name + "\": " + SayWhichThereAre(name, known));
  }
}

// One name, or several with commas between them: a route's name may have a comma of its own.
std::vector<std::string> Turns(const std::string& option, const std::string& text,
                               const std::vector<std::string>& known) {
  std::vector<std::string> turns;
  if (Has(known, text)) return {text};
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    turns.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  CheckKnown(option, turns, known);
  return turns;
}

// What stands between "name(" and ")".
bool InBrackets(const std::string& text, std::string_view name, std::string* inside) {
  if (text.size() < name.size() + 2 || text.substr(0, name.size()) != name) return false;
  if (text[name.size()] != '(' || text.back() != ')') return false;
  *inside = text.substr(name.size() + 1, text.size() - name.size() - 2);
  return true;
}

[[noreturn]] void BadPolicy(const std::string& why) { Fail(ExitCode::kUsage, "--policy", why); }

// "name=NUMBER, ...", each within its range.
Adaptive ParseAdaptive(const std::string& text) {
  Adaptive adaptive;
  for (size_t start = 0; start < text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    const size_t first = std::min(text.find_first_not_of(' ', start), comma);
    const size_t equals = std::min(text.find('=', first), comma);
    const std::string name = text.substr(first, equals - first);
    const size_t after = std::min(equals + 1, comma);
    const std::string number = text.substr(after, comma - after);
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0') BadPolicy("option \"" + name + "\" is no number");
    if (name == "within_s") {
      if (!(value > 0 && value < kLongestSeconds)) BadPolicy("within_s is not above 0");
      adaptive.within_s = value;
    } else if (name == "margin") {
      if (!(value >= 0 && value < 1)) BadPolicy("margin is not in [0, 1)");
      adaptive.margin = value;
    } else if (name == "hold_s") {
      if (!(value >= 0 && value < kLongestSeconds)) BadPolicy("hold_s is below 0");
      adaptive.hold_s = value;
    } else if (name == "agreement") {
      if (!(value >= 0 && value <= 1)) BadPolicy("agreement is not in [0, 1]");
      adaptive.agreement = value;
    } else {
      BadPolicy("adaptive has no option \"" + name +
                "\": there is within_s, margin, hold_s, agreement");
    }
    start = comma + 1;
  }
  return adaptive;
}

// Of the plan's conditions those that a device can tell apart: it measures no memory stress.
std::vector<PlanCondition> LeastStressed(const std::string& path,
                                         const std::vector<std::string>& known) {
  std::vector<PlanCondition> all = ReadPlan(path);
  double least = 1;
  for (const PlanCondition& one : all) {
    least = std::min(least, one.memory);
    CheckKnown(path, {one.route}, known);
  }
  std::vector<PlanCondition> found;
  for (const PlanCondition& one : all) {
    if (one.memory == least) found.push_back(one);
  }
  return found;
}

bool IsFile(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

RouteChoice ParsePolicy(const std::string& text, const std::vector<std::string>& known) {
  RouteChoice choice;
  std::string inside;
  if (InBrackets(text, "fixed", &inside)) {
    constexpr std::string_view kRoute = "route=\"";
    if (inside.size() <= kRoute.size() || inside.substr(0, kRoute.size()) != kRoute ||
        inside.back() != '"') {
      BadPolicy("write it like fixed(route=\"" + known[0] + "\")");
    }
    choice.turns = {inside.substr(kRoute.size(), inside.size() - kRoute.size() - 1)};
    CheckKnown("--policy", choice.turns, known);
    return choice;
  }
  constexpr std::string_view kJson = ".json";
  const bool json = text.size() > kJson.size() && text.substr(text.size() - kJson.size()) == kJson;
  if (json || IsFile(text)) {
    choice.kind = RouteChoice::Kind::kPlan;
    choice.plan = LeastStressed(text, known);
    return choice;
  }
  if (text != "adaptive" && !InBrackets(text, "adaptive", &inside)) {
    BadPolicy("\"" + text + "\" is none: there is adaptive, and the file of a plan");
  }
  choice.kind = RouteChoice::Kind::kAdaptive;
  choice.adaptive = ParseAdaptive(inside);
  return choice;
}

}  // namespace

RouteChoice ParseRouteChoice(const Options& options, const Manifest& head) {
  if (head.remote.empty()) {
    Fail(ExitCode::kBadInput, head.part, "is no head: nothing says what it sends");
  }
  const std::vector<std::string> known = NamesOf(head);
  const std::optional<double> within_s = options.send.within_s;
  RouteChoice choice;
  if (!options.send.policy.empty()) {
    choice = ParsePolicy(options.send.policy, known);
    if (!within_s) return choice;
    if (choice.kind != RouteChoice::Kind::kAdaptive || choice.adaptive.within_s) {
      BadPolicy("\"" + options.send.policy + "\" is nothing that --within can be told");
    }
    choice.adaptive.within_s = within_s;
    return choice;
  }
  choice.adaptive.within_s = within_s;
  if (!options.route.empty()) {
    choice.turns = Turns("--route", options.route, known);
    if (options.send.to.empty() && choice.turns.size() > 1) {
      Fail(ExitCode::kUsage, "--route", "takes one name where nothing is sent");
    }
  } else if (known.size() > 1 || options.send.within_s) {
    choice.kind = RouteChoice::Kind::kAdaptive;
  } else {
    choice.turns = known;
  }
  return choice;
}

std::vector<Remote> RoutesOf(const RouteChoice& choice, const Manifest& head) {
  std::vector<Remote> routes;
  for (const Remote& remote : head.remote) {
    if (choice.turns.empty() || Has(choice.turns, remote.name)) routes.push_back(remote);
  }
  return routes;
}

}  // namespace splitc
