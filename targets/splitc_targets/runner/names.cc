// SPDX-License-Identifier: Apache-2.0
//
// The nearest name by Levenshtein's distance.

#include "names.h"

#include <algorithm>
#include <cstddef>

#include "text.h"

namespace splitc {
namespace {

constexpr size_t kShown = 12;

// Letters to add, to take away or to change.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string SayWhichThereAre(const std::string& name, const std::vector<std::string>& known) {
  size_t least = name.size() / 3 + 1;
  const std::string* nearest = nullptr;
  for (const std::string& one : known) {
    const size_t distance = Distance(name, one);
    if (distance > least || (distance == least && nearest != nullptr)) continue;
    least = distance;
    nearest = &one;
  }
  if (nearest != nullptr) return "did you mean \"" + *nearest + "\"?";
  std::string all = "there is ";
  for (size_t i = 0; i < std::min(known.size(), kShown); ++i) {
    all += (i > 0 ? ", " : "") + known[i];
  }
  return all + (known.size() > kShown ? " and " + Decimal(known.size() - kShown) + " more" : "");
}

}  // namespace splitc
