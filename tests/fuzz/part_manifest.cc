// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer on what the runner reads of files: a part's manifest, what a policy makes of its
// routes, a plan, and the header of .npy.

#include "dtype.cc"
#include "json.cc"
#include "manifest.cc"
#include "npy.cc"
#include "plan.cc"
#include "file_util.cc"
#include "policy.cc"
#include "sha256.cc"
#include "sha256_hw.cc"
#include "utf8.cc"
#include "wire.cc"

namespace splitc {

// In the runner a failure ends the program.
struct Failed {};

void Fail(ExitCode, const std::string&, const std::string&) { throw Failed(); }
void FailPlainly(const char*) { __builtin_trap(); }
void MarkUnfinished(const std::string&) {}
void MarkFinished(const std::string&) {}

}  // namespace splitc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    std::vector<splitc::RouteOption> options;
    for (const splitc::Remote& remote : splitc::ParseManifest(text).remote) {
      options.push_back(splitc::OptionOf(remote, 1404));
    }
    if (!options.empty()) {
      splitc::AdaptiveChooser chooser({}, options);
      splitc::LinkState seen;
      seen.bandwidth_bps = 1e6;
      if (chooser.Route(seen, 1) >= options.size()) __builtin_trap();
    }
  } catch (const splitc::Failed&) {
  }
  try {
    splitc::ParsePlan(text, "plan.json");
  } catch (const splitc::Failed&) {
  }
  try {
    splitc::ParseNpyDictionary(text, "x.npy");
  } catch (const splitc::Failed&) {
  }
  return 0;
}
