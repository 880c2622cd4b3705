// SPDX-License-Identifier: Apache-2.0
//
// The one error type of the runner. Every failure ends up as one line
// "splitc-run: WHAT: WHY" and one of the exit codes below.

#ifndef SPLITC_RUNNER_ERROR_H_
#define SPLITC_RUNNER_ERROR_H_

#include <exception>
#include <string>
#include <utility>

namespace splitc {

// The numbers are part of the command line contract.
enum class ExitCode : int {
  kOk = 0,
  kOther = 1,
  kUsage = 2,
  kBadInput = 3,    // the part or an input file is not what it should be
  kCannotLoad = 6,  // the part is intact, but this machine cannot load it
};

class Error : public std::exception {
 public:
  Error(ExitCode code, const std::string& what, const std::string& why)
      : code_(code), message_(what + ": " + why) {}

  ExitCode code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ExitCode code_;
  std::string message_;
};

[[noreturn]] inline void Fail(ExitCode code, const std::string& what, const std::string& why) {
  throw Error(code, what, why);
}

}  // namespace splitc

#endif  // SPLITC_RUNNER_ERROR_H_
