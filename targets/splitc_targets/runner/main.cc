// SPDX-License-Identifier: Apache-2.0
//
// splitc-run: runs one compiled part of a split neural network. Here: the order
// of things, and the one place where errors become a line and an exit code.

#include <signal.h>
#include <sys/stat.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "cpu.h"
#include "error.h"
#include "json.h"
#include "options.h"
#include "part.h"
#include "run.h"
#include "utf8.h"

namespace splitc {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr size_t kMaxErrorBytes = 400;

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
  // Output to a closed pipe is to be an error like any other.
  signal(SIGPIPE, SIG_IGN);
  const Options options = ParseOptions(argc, argv);
  if (options.help) return Print(kUsage);
  if (options.version) {
    return Print(std::string("splitc-run ") + kVersion + " (" + kIsa + ", manifest schema " +
                 std::to_string(kManifestSchema) + ")\n");
  }
  if (!options.out.empty()) CheckOutFolder(options.out);
  const Part part(options.part);
  if (options.check) {
    return Print("{\"part\":" + JsonQuote(part.manifest().part) +
                 ",\"checked\":" + std::to_string(part.manifest().files.size()) + "}\n");
  }
  Print(RunPart(options, part) + "\n");
}

int Report(ExitCode code, const std::string& message) {
  std::fprintf(stderr, "splitc-run: %s\n", OneLine(message, kMaxErrorBytes).c_str());
  return static_cast<int>(code);
}

}  // namespace
}  // namespace splitc

int main(int argc, char** argv) {
  using splitc::ExitCode;
  try {
    splitc::Main(argc, argv);
    return static_cast<int>(ExitCode::kOk);
  } catch (const splitc::Error& error) {
    return splitc::Report(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return splitc::Report(ExitCode::kOther, "memory: not enough");
  } catch (const std::exception& error) {
    return splitc::Report(ExitCode::kOther, std::string("internal error: ") + error.what());
  } catch (...) {
    return splitc::Report(ExitCode::kOther, "internal error: unknown");
  }
}
