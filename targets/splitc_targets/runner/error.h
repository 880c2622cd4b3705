// SPDX-License-Identifier: Apache-2.0
//
// How the runner fails. Every failure is one line "splitc-run: WHAT: WHY" on the
// standard error, one of the exit codes below, and no unfinished file left.
//
// There are no exceptions: they would need the C++ library, which would have to be
// compiled for every instruction set first (support.cc says what stands in for it).

#ifndef SPLITC_RUNNER_ERROR_H_
#define SPLITC_RUNNER_ERROR_H_

#include <string>

namespace splitc {

// The numbers are part of the command line contract.
enum class ExitCode : int {
  kOk = 0,
  kOther = 1,
  kUsage = 2,
  kBadInput = 3,    // the part or an input file is not what it should be
  kCannotLoad = 6,  // the part is intact, but this machine cannot load it
  kNetwork = 8,     // the server, or the way to it
  kDevice = 8,      // the graphics processor, or its driver
  kStopped = 130,   // by a signal
};

// Ends the program, with no unfinished file left.
[[noreturn]] void End(ExitCode code);

// Prints the line and ends the program.
[[noreturn]] void Fail(ExitCode code, const std::string& what, const std::string& why);

// The same where nothing can be allocated. `line` ends with a line feed.
[[noreturn]] void FailPlainly(const char* line);

// A file that is not complete: removed by a failure until it is marked finished.
void MarkUnfinished(const std::string& path);
void MarkFinished(const std::string& path);

}  // namespace splitc

#endif  // SPLITC_RUNNER_ERROR_H_
