// SPDX-License-Identifier: Apache-2.0
//
// The command line.

#include "options.h"

#include <climits>
#include <cstdlib>
#include <string_view>
#include <unistd.h>

#include "error.h"
#include "manifest.h"
#include "pool.h"
#include "text.h"

namespace splitc {

const char kUsage[] =
    "usage: splitc-run [options] IN0.npy IN1.npy ...\n"
    "Runs one compiled part of a split neural network.\n"
    "\n"
    "Inputs are .npy files in the order of the part's contract; all of them may\n"
    "have one more leading dimension, to run several samples one after another.\n"
    "\n"
    "  --part DIR   the part's folder (default: where this program is)\n"
    "  --out DIR    write the outputs to DIR/0.npy, DIR/1.npy, ...\n"
    "  --repeat N   run the first sample N-1 more times, for timing (default: 1);\n"
    "               with --send, send all samples N times\n"
    "  --route NAME the parts of that route instead of this one by itself; with --send,\n"
    "               the route that frames take, or A,B,C: one after another in turns\n"
    "  --threads T  number of threads, 1 to 256 (default: one a core)\n"
    "  --device D   which GPU a part for one takes: cuda:0, opencl:1 (default: the first)\n"
    "  --check      only check the manifest and the hashes; inputs are ignored\n"
    "  --version    print the version\n"
    "  --help       print this\n";

namespace {

constexpr int64_t kMaxRepeat = 1000000;

[[noreturn]] void BadOption(const std::string& why) { Fail(ExitCode::kUsage, "usage", why); }

int64_t ParseNumber(const std::string& option, const std::string& text, int64_t max) {
  int64_t value = 0;
  bool good = !text.empty() && text.size() <= 9;
  for (const char c : text) {
    good = good && c >= '0' && c <= '9';
    if (good) value = value * 10 + (c - '0');
  }
  if (!good || value < 1 || value > max) {
    BadOption(option + " takes a whole number from 1 to " + Decimal(max));
  }
  return value;
}

std::string ParseDevice(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string api = text.substr(0, colon);
  bool good = api == "cuda" || api == "opencl";
  if (colon != std::string::npos) {
    const std::string number = text.substr(colon + 1);
    good = good && !number.empty() && number.size() <= 2;
    for (const char c : number) good = good && c >= '0' && c <= '9';
  }
  if (!good) BadOption("--device takes cuda, opencl, or one with a number: cuda:1");
  return text;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Some user-mode emulators let /proc/self/exe name the emulator.
std::string DefaultPart(const char* argv0) {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length > 0 && static_cast<size_t>(length) < sizeof path) {
    const std::string folder = FolderOf(std::string(path, static_cast<size_t>(length)));
    if (access((folder + "/" + kManifestName).c_str(), F_OK) == 0) return folder;
  }
  return FolderOf(argv0 != nullptr ? argv0 : "");
}

class OptionParser {
 public:
  OptionParser(int argc, char** argv) : args_(argv + (argc > 0 ? 1 : 0), argv + argc) {}

  Options Parse() {
    bool options_ended = false;
    while (next_ < args_.size()) {
      const std::string& arg = args_[next_++];
      if (options_ended || arg.empty() || arg[0] != '-') {
        options_.inputs.push_back(arg);
      } else if (arg == "--") {
        options_ended = true;
      } else {
        ParseOption(arg);
      }
    }
    if (options_.send.to.empty() && !needs_send_.empty()) {
      BadOption(needs_send_ + " goes with --send HOST:PORT");
    }
    const bool chooses = !options_.send.policy.empty() || options_.send.within_s.has_value();
    if (!options_.route.empty() && chooses) {
      BadOption("--route leaves nothing to choose: give it without --policy or --within");
    }
    CheckSendOptions(options_.send);
    return options_;
  }

 private:
  void ParseOption(const std::string& arg) {
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(0, equals);
    has_inline_value_ = equals != std::string::npos;
    if (has_inline_value_) inline_value_ = arg.substr(equals + 1);
    if (name == "--part") {
      options_.part = Value(name);
    } else if (name == "--out") {
      options_.out = Value(name);
    } else if (name == "--repeat") {
      options_.repeat = ParseNumber(name, Value(name), kMaxRepeat);
    } else if (name == "--route") {
      options_.route = Value(name);
    } else if (name == "--threads") {
      options_.threads = ParseNumber(name, Value(name), kMostThreads);
    } else if (name == "--device") {
      options_.device = ParseDevice(Value(name));
    } else if (name == "--check") {
      options_.check = Flag(name);
    } else if (name == "--version") {
      options_.version = Flag(name);
    } else if (name == "--help" || name == "-h") {
      options_.help = Flag(name);
    } else if (IsSendOption(name)) {
      TakeSendOption(name, Value(name), &options_.send);
      if (needs_send_.empty()) needs_send_ = name;
    } else {
      BadOption("unknown option " + name);
    }
  }

  std::string Value(const std::string& name) {
    if (!has_inline_value_ && next_ >= args_.size()) BadOption(name + " needs a value");
    const std::string value = has_inline_value_ ? inline_value_ : args_[next_++];
    if (value.empty()) BadOption(name + " needs a value");
    return value;
  }

  bool Flag(const std::string& name) const {
    if (has_inline_value_) BadOption(name + " takes no value");
    return true;
  }

  std::vector<std::string> args_;
  size_t next_ = 0;
  std::string needs_send_;
  bool has_inline_value_ = false;
  std::string inline_value_;
  Options options_;
};

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options = OptionParser(argc, argv).Parse();
  if (options.help || options.version) return options;
  if (!options.check && options.inputs.empty()) BadOption("no input files; try --help");
  if (options.part.empty()) options.part = DefaultPart(argc > 0 ? argv[0] : nullptr);
  return options;
}

}  // namespace splitc
