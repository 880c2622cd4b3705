// SPDX-License-Identifier: Apache-2.0
//
// How many processor cores there are to compute on.

#ifndef SPLITC_RUNNER_CORES_H_
#define SPLITC_RUNNER_CORES_H_

namespace splitc {

// Physical cores that this process may run on: two hardware threads of one core share
// what a multiply-add runs on.
int CoreCount();

}  // namespace splitc

#endif  // SPLITC_RUNNER_CORES_H_
