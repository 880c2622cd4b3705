// SPDX-License-Identifier: Apache-2.0
//
// The one line of a failure, and the files that it must not leave.

#include "error.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <set>

#include "utf8.h"

namespace splitc {
namespace {

constexpr size_t kMaxErrorBytes = 400;

// Never destroyed: a failure may come from anywhere, to the very end.
std::set<std::string>& Unfinished() {
  static auto* const paths = new std::set<std::string>;
  return *paths;
}

}  // namespace

// Not exit(): the model's libraries keep threads, and are not to be taken down under them.
void End(ExitCode code) {
  for (const std::string& path : Unfinished()) unlink(path.c_str());
  std::fflush(stdout);
  _exit(static_cast<int>(code));
}

void Fail(ExitCode code, const std::string& what, const std::string& why) {
  const std::string line = OneLine(what + ": " + why, kMaxErrorBytes);
  std::fprintf(stderr, "splitc-run: %s\n", line.c_str());
  End(code);
}

void FailPlainly(const char* line) {
  if (write(STDERR_FILENO, line, std::strlen(line)) < 0) _exit(static_cast<int>(ExitCode::kOther));
  End(ExitCode::kOther);
}

void MarkUnfinished(const std::string& path) { Unfinished().insert(path); }

void MarkFinished(const std::string& path) { Unfinished().erase(path); }

}  // namespace splitc
