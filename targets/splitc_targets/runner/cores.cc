// SPDX-License-Identifier: Apache-2.0
//
// Finds cores by what Linux says of each CPU's siblings.

#include "cores.h"

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

void FindCores(Cores* cores) {
  cpu_set_t cpus;
  const bool known = sched_getaffinity(0, sizeof cpus, &cpus) == 0;
  cores->count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    const bool here = known ? CPU_ISSET(cpu, &cpus) : cpu == 0;
    const int core = here ? FirstSibling(cpu) : -1;
    cores->core_of[cpu] = core;
    bool is_new = here;
    for (int i = 0; i < cores->count; ++i) is_new = is_new && cores->core[i] != core;
    if (is_new) cores->core[cores->count++] = core;
  }
}

cpu_set_t CpusOf(const Cores& cores, int core) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (cores.core_of[cpu] == core) CPU_SET(cpu, &cpus);
  }
  return cpus;
}

}  // namespace splitc
