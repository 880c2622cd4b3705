// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 with the CPU's own instructions (x86 SHA-NI, ARMv8 crypto).

#ifndef SPLITC_RUNNER_SHA256_HW_H_
#define SPLITC_RUNNER_SHA256_HW_H_

#include <cstdint>

#include "sha256.h"

namespace splitc {

extern const uint32_t kSha256Constants[64];

// Null where this CPU has no such instructions.
Sha256Blocks HardwareSha256Blocks();

}  // namespace splitc

#endif  // SPLITC_RUNNER_SHA256_HW_H_
