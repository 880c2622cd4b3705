// SPDX-License-Identifier: Apache-2.0
//
// One run of the program on a checked part: inputs, model, outputs, report.

#ifndef SPLITC_RUNNER_RUN_H_
#define SPLITC_RUNNER_RUN_H_

#include <string>

#include "options.h"
#include "part.h"

namespace splitc {

// Returns the report: one line of JSON, without the line feed.
std::string RunPart(const Options& options, const Part& part);

}  // namespace splitc

#endif  // SPLITC_RUNNER_RUN_H_
