// SPDX-License-Identifier: Apache-2.0
//
// Reads what a policy needs of a plan. Somebody else may have written it.

#include "plan.h"

#include <fcntl.h>

#include <utility>

#include "error.h"
#include "file_util.h"
#include "json.h"
#include "text.h"

namespace splitc {
namespace {

using Kind = JsonValue::Kind;

constexpr uint64_t kMaxPlanBytes = 16 << 20;
constexpr int64_t kPlanSchema = 1;

[[noreturn]] void BadPlan(const std::string& path, const std::string& why) {
  Fail(ExitCode::kUsage, path, "is no plan: " + why);
}

// A member that is a number from `least` up to below `limit`.
double NumberIn(const JsonValue& object, const char* key, double least, double limit,
                const std::string& path) {
  const JsonValue* value = object.Find(key);
  if (value == nullptr || !value->is_number()) BadPlan(path, std::string(key) + " is no number");
  if (!(value->real >= least && value->real < limit)) {
    BadPlan(path, std::string(key) + " is out of its range");
  }
  return value->real;
}

}  // namespace

std::vector<PlanCondition> ParsePlan(std::string_view text, const std::string& path) {
  const JsonValue root = ParseJson(text, path, ExitCode::kUsage);
  const JsonValue* schema = root.Find("schema");
  if (schema == nullptr || !schema->is(Kind::kInteger) || schema->integer != kPlanSchema) {
    BadPlan(path, "its schema is not " + Decimal(kPlanSchema));
  }
  const JsonValue* array = root.Find("conditions");
  if (array == nullptr || !array->is(Kind::kArray) || array->items.empty()) {
    BadPlan(path, "it has no conditions");
  }
  std::vector<PlanCondition> conditions;
  for (const JsonValue& item : array->items) {
    PlanCondition& one = conditions.emplace_back();
    one.cpu = NumberIn(item, "cpu", 0, 1, path);
    one.memory = NumberIn(item, "memory", 0, 1, path);
    one.bandwidth_bps = NumberIn(item, "bandwidth_bps", 1e-3, 1e18, path);
    const JsonValue* route = item.Find("route");
    if (route == nullptr || !route->is(Kind::kString)) BadPlan(path, "a condition has no route");
    one.route = route->text;
  }
  return conditions;
}

std::vector<PlanCondition> ReadPlan(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat st;
  if (file.get() < 0 || fstat(file.get(), &st) != 0) {
    Fail(ExitCode::kUsage, path, "cannot read the plan: " + LastSystemError());
  }
  if (!S_ISREG(st.st_mode)) BadPlan(path, "it is no plain file");
  const auto size = static_cast<uint64_t>(st.st_size);
  if (size > kMaxPlanBytes) BadPlan(path, "it is too large");
  std::string text(static_cast<size_t>(size), '\0');
  ReadExactly(file.get(), text.data(), text.size(), 0, path);
  return ParsePlan(text, path);
}

}  // namespace splitc
