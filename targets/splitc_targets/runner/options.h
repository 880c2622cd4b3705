// SPDX-License-Identifier: Apache-2.0
//
// The command line.

#ifndef SPLITC_RUNNER_OPTIONS_H_
#define SPLITC_RUNNER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "send_options.h"

namespace splitc {

extern const char kUsage[];

struct Options {
  std::string part;  // folder
  std::string out;   // folder, or empty
  int64_t repeat = 1;
  int64_t threads = 0;  // 0: one a core
  std::string device;   // "cuda:1", or empty
  std::string route;  // of a head: name, or several with commas between them
  bool check = false;
  bool version = false;
  bool help = false;
  std::vector<std::string> inputs;
  SendOptions send;
};

// Fails (kUsage). Fills in the default part folder.
Options ParseOptions(int argc, char** argv);

}  // namespace splitc

#endif  // SPLITC_RUNNER_OPTIONS_H_
