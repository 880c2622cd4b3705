// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer on what the runner reads of files: a part's manifest, and the header of .npy.

#include "dtype.cc"
#include "json.cc"
#include "manifest.cc"
#include "npy.cc"
#include "file_util.cc"
#include "sha256.cc"
#include "sha256_hw.cc"
#include "utf8.cc"

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
    splitc::ParseManifest(text);
  } catch (const splitc::Failed&) {
  }
  try {
    splitc::ParseNpyDictionary(text, "x.npy");
  } catch (const splitc::Failed&) {
  }
  return 0;
}
