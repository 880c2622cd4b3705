// SPDX-License-Identifier: Apache-2.0
//
// What the runner needs of the C++ library beside its headers. The library itself is not
// linked: zig would compile it anew for every instruction set, minutes of a first run for
// a few functions.

#include <cstdlib>
#include <new>
#include <string>

#include "error.h"

namespace {

void* Allocated(std::size_t bytes) {
  void* memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) splitc::FailPlainly("splitc-run: memory: not enough\n");
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return Allocated(bytes); }
void* operator new[](std::size_t bytes) { return Allocated(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

// What a container calls that is asked for more than can be.
void std::__libcpp_verbose_abort(const char*, ...) noexcept {
  splitc::FailPlainly("splitc-run: internal error: a container was misused\n");
}

// The headers take these for granted; here they are made.
template class std::basic_string<char>;
template std::string std::operator+(const char*, const std::string&);
