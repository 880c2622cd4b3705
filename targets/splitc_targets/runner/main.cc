// SPDX-License-Identifier: Apache-2.0
//
// splitc-run: runs one compiled part of a split neural network. Here: the order
// of things.

#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "cpu.h"
#include "error.h"
#include "head.h"
#include "json.h"
#include "options.h"
#include "part.h"
#include "route_choice.h"
#include "run.h"
#include "send.h"
#include "text.h"

namespace splitc {
namespace {

constexpr char kVersion[] = "0.1.0";

void Print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    Fail(ExitCode::kOther, "standard output", "cannot write");
  }
}

void CheckOutFolder(const std::string& folder) {
  struct stat st;
  if (stat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
    Fail(ExitCode::kUsage, "--out", folder + " is not an existing folder");
  }
}

void Main(int argc, char** argv) {
  // Blocks of that size are the system's again when they are freed, however often that was done.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  // Output to a closed pipe is to be an error like any other.
  signal(SIGPIPE, SIG_IGN);
  const Options options = ParseOptions(argc, argv);
  if (options.help) return Print(std::string(kUsage) + kSendUsage);
  if (options.version) {
    return Print(std::string("splitc-run ") + kVersion + " (" + kIsa + ", manifest schema " +
                 Decimal(kManifestSchema) + ")\n");
  }
  if (!options.out.empty()) CheckOutFolder(options.out);
  // Where the code of a part for a GPU looks when it is loaded.
  if (!options.device.empty()) setenv("SPLITC_DEVICE", options.device.c_str(), 1);
  const Part part(options.part);
  if (options.send.to.empty() && options.route.empty() && !options.check) {
    return Print(RunPart(options, part) + "\n");
  }
  const Manifest& manifest = part.manifest();
  const bool all = options.check && options.route.empty();
  const RouteChoice choice = all ? RouteChoice{} : ParseRouteChoice(options, manifest);
  const HeadParts parts(part, all ? manifest.remote : RoutesOf(choice, manifest));
  if (options.check) {
    return Print("{\"part\":" + JsonQuote(manifest.part) +
                 ",\"checked\":" + Decimal(parts.files()) + "}\n");
  }
  if (options.send.to.empty()) return Print(RunRoute(options, parts) + "\n");
  const Sent sent = SendFrames(options, choice, parts);
  Print(sent.report + "\n");
  if (sent.code != ExitCode::kOk) End(sent.code);
}

}  // namespace
}  // namespace splitc

int main(int argc, char** argv) {
  splitc::Main(argc, argv);
  return static_cast<int>(splitc::ExitCode::kOk);
}
