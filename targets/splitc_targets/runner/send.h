// SPDX-License-Identifier: Apache-2.0
//
// A head as a device: its results go to a server, and the network's come back.

#ifndef SPLITC_RUNNER_SEND_H_
#define SPLITC_RUNNER_SEND_H_

#include <string>

#include "error.h"
#include "head.h"
#include "options.h"
#include "route_choice.h"

namespace splitc {

struct Sent {
  std::string report;  // one line of JSON, without the line feed
  ExitCode code = ExitCode::kOk;
};

// Sends all samples. Fails where the server does, unless the options say what to do then.
Sent SendFrames(const Options& options, const RouteChoice& choice, const HeadParts& parts);

}  // namespace splitc

#endif  // SPLITC_RUNNER_SEND_H_
