// SPDX-License-Identifier: Apache-2.0
//
// Whether this machine can run code made for a given ISA and CPU level.

#ifndef SPLITC_RUNNER_CPU_H_
#define SPLITC_RUNNER_CPU_H_

#include <cstdint>
#include <string>
#include <vector>

namespace splitc {

// The ISA this program is built for: "aarch64" or "x86_64".
extern const char kIsa[];

// Fails (kCannotLoad) with the reason, instead of the SIGILL that running
// the part would end in. `cpu` may be empty; features that are not known here pass.
void CheckCpu(const std::string& isa, const std::string& cpu,
              const std::vector<std::string>& features);

#if defined(__x86_64__)
// Whether this CPU, and what runs on it, has what x86-64-v3 has: AVX2 above all.
bool IsX86V3();
#endif

}  // namespace splitc

#endif  // SPLITC_RUNNER_CPU_H_
