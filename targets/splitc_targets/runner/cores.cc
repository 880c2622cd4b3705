// SPDX-License-Identifier: Apache-2.0
//
// Counts cores by what Linux says of each CPU's siblings.

#include "cores.h"

#include <sched.h>

#include <cstdio>
#include <cstdlib>

namespace splitc {
namespace {

// The first CPU of the core that `cpu` belongs to; itself where the system does not say.
int FirstSibling(int cpu) {
  char text[96];
  std::snprintf(text, sizeof text,
                "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  std::FILE* file = std::fopen(text, "re");
  if (file == nullptr) return cpu;
  const bool read = std::fgets(text, sizeof text, file) != nullptr;
  std::fclose(file);
  char* end = text;
  const long first = read ? std::strtol(text, &end, 10) : 0;
  return end != text && first >= 0 && first < CPU_SETSIZE ? static_cast<int>(first) : cpu;
}

}  // namespace

int CoreCount() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) return 1;
  cpu_set_t firsts;
  CPU_ZERO(&firsts);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &cpus)) CPU_SET(FirstSibling(cpu), &firsts);
  }
  return CPU_COUNT(&firsts);
}

}  // namespace splitc
