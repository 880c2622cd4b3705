// SPDX-License-Identifier: Apache-2.0
//
// CPU checks. The x86-64 levels are those of the psABI; cpuid is asked directly,
// because __builtin_cpu_supports needs run-time support that not every
// toolchain brings along.

#include "cpu.h"

#include <string>

#include "error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#else
#include <sys/auxv.h>
#endif

namespace splitc {

#if defined(__x86_64__)
const char kIsa[] = "x86_64";
#elif defined(__aarch64__)
const char kIsa[] = "aarch64";
#else
#error "unsupported instruction set"
#endif

#if defined(__x86_64__)
namespace {

// The four registers of one cpuid leaf; all zero if the CPU does not have it.
struct Leaf {
  explicit Leaf(unsigned leaf, unsigned sub = 0) {
    if (__get_cpuid_count(leaf, sub, &a, &b, &c, &d) == 0) a = b = c = d = 0;
  }
  unsigned a = 0, b = 0, c = 0, d = 0;
};

bool HasAll(unsigned reg, unsigned bits) { return (reg & bits) == bits; }

// What register state the operating system saves; without that, the wide
// registers fault whatever the CPU can do.
uint64_t SavedState() {
  if (!HasAll(Leaf(1).c, bit_OSXSAVE)) return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

bool HasV2() {
  const unsigned lahf = 1u << 0;
  return HasAll(Leaf(1).c, bit_SSE3 | bit_SSSE3 | bit_CMPXCHG16B | bit_SSE4_1 | bit_SSE4_2 |
                               bit_POPCNT) &&
         HasAll(Leaf(0x80000001).c, lahf);
}

bool HasV3() {
  const unsigned lzcnt = 1u << 5;
  const uint64_t ymm_state = 0x06;
  return HasV2() && (SavedState() & ymm_state) == ymm_state &&
         HasAll(Leaf(1).c, bit_AVX | bit_F16C | bit_FMA | bit_MOVBE) &&
         HasAll(Leaf(7).b, bit_AVX2 | bit_BMI | bit_BMI2) && HasAll(Leaf(0x80000001).c, lzcnt);
}

bool HasV4() {
  const uint64_t zmm_state = 0xe6;
  return HasV3() && (SavedState() & zmm_state) == zmm_state &&
         HasAll(Leaf(7).b, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL);
}

bool HasTiles() {
  const uint64_t tile_state = 0x60000;
  return (SavedState() & tile_state) == tile_state && HasAll(Leaf(7).d, 1u << 24);
}

void CheckLevel(const std::string& cpu) {
  bool fits = false;
  if (cpu == "x86-64") {
    fits = true;
  } else if (cpu == "x86-64-v2") {
    fits = HasV2();
  } else if (cpu == "x86-64-v3") {
    fits = HasV3();
  } else if (cpu == "x86-64-v4") {
    fits = HasV4();
  } else {
    Fail(ExitCode::kCannotLoad, "cpu", "the part needs \"" + cpu + "\", which is not known here");
  }
  if (!fits) {
    Fail(ExitCode::kCannotLoad, "cpu", "the part needs " + cpu + ", which this CPU is not");
  }
}

bool HasFeature(const std::string& name) {
  if (name == "+avx512vnni") return HasAll(Leaf(7).c, 1u << 11);
  if (name == "+avx512bf16") return HasAll(Leaf(7, 1).a, 1u << 5);
  if (name == "+avxvnni") return HasAll(Leaf(7, 1).a, 1u << 4);
  if (name == "+amx-bf16") return HasTiles() && HasAll(Leaf(7).d, 1u << 22);
  if (name == "+amx-int8") return HasTiles() && HasAll(Leaf(7).d, 1u << 25);
  return true;
}

// Linux gives a process the tiles that it asks for, once for all of its threads.
void AskForTiles() {
  const unsigned long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, request, tile_data) != 0) {
    Fail(ExitCode::kCannotLoad, "cpu",
         std::string("the part needs tiles (AMX), which the kernel does not give this process: ") +
             strerror(errno));
  }
}

}  // namespace

bool IsX86V3() { return HasV3(); }

#else
namespace {

bool HasFeature(const std::string& name) {
  // As the kernel's <asm/hwcap.h> names them, which older ones lack.
  const unsigned long asimd_half = 1ul << 10, asimd_dot = 1ul << 20;
  if (name == "+dotprod") return (getauxval(AT_HWCAP) & asimd_dot) != 0;
  if (name == "+fullfp16") return (getauxval(AT_HWCAP) & asimd_half) != 0;
  return true;
}

}  // namespace
#endif

void CheckCpu(const std::string& isa, const std::string& cpu,
              const std::vector<std::string>& features) {
  if (isa != kIsa) {
    Fail(ExitCode::kCannotLoad, "isa",
         "the part is for \"" + isa + "\", but this program is for \"" + kIsa + "\"");
  }
#if defined(__x86_64__)
  if (!cpu.empty()) CheckLevel(cpu);
#else
  (void)cpu;  // on this ISA, it only says what the code was tuned for
#endif
  for (const std::string& name : features) {
    if (!HasFeature(name)) {
      Fail(ExitCode::kCannotLoad, "cpu",
           "the part needs \"" + name + "\", which this CPU does not have");
    }
#if defined(__x86_64__)
    if (name.rfind("+amx-", 0) == 0) AskForTiles();
#endif
  }
}

}  // namespace splitc
