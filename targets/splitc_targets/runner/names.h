// SPDX-License-Identifier: Apache-2.0
//
// What to say to who gave a name that there is not.

#ifndef SPLITC_RUNNER_NAMES_H_
#define SPLITC_RUNNER_NAMES_H_

#include <string>
#include <vector>

namespace splitc {

// "did you mean "x"?" where one is near, else what there is: a few of them.
std::string SayWhichThereAre(const std::string& name, const std::vector<std::string>& known);

}  // namespace splitc

#endif  // SPLITC_RUNNER_NAMES_H_
