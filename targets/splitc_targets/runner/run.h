// SPDX-License-Identifier: Apache-2.0
//
// One run of the program on checked parts: inputs, model, outputs, report.

#ifndef SPLITC_RUNNER_RUN_H_
#define SPLITC_RUNNER_RUN_H_

#include <string>

#include "head.h"
#include "options.h"
#include "part.h"

namespace splitc {

// Runs one part by itself. Returns the report: one line of JSON, without the line feed.
std::string RunPart(const Options& options, const Part& part);

// Runs all parts of a head's one route: the results are what crosses on it, and behind that the
// network's results that the head makes.
std::string RunRoute(const Options& options, const HeadParts& parts);

}  // namespace splitc

#endif  // SPLITC_RUNNER_RUN_H_
