// SPDX-License-Identifier: Apache-2.0
//
// Scratch memory of compiled code.

#ifndef SPLITC_RUNNER_SCRATCH_H_
#define SPLITC_RUNNER_SCRATCH_H_

#include <cstdint>

namespace splitc {

// As in SplitcHost. Every call asks for the same sizes again: what is given back stays with
// its thread until the thread ends, a few pieces at most.
void* BorrowScratch(uint64_t bytes);
void GiveBackScratch(void* memory);

}  // namespace splitc

#endif  // SPLITC_RUNNER_SCRATCH_H_
