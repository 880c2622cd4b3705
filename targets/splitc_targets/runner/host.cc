// SPDX-License-Identifier: Apache-2.0
//
// The table that models are handed. Loaders in other languages get it from libsplitc.so,
// which is this file and what it includes, with the functions below as its interface.

#include <cstring>

#include "pool.h"
#include "scratch.h"

namespace splitc {
namespace {

thread_local char error[512];

void Append(const char* text) {
  const size_t used = std::strlen(error);
  const size_t more = std::strlen(text);
  const size_t room = sizeof error - 1 - used;
  std::memcpy(error + used, text, more < room ? more : room);
  error[used + (more < room ? more : room)] = '\0';
}

void KeepError(const char* kind, const char* const* parts, int32_t count) {
  error[0] = '\0';
  Append(kind);
  if (error[0] != '\0') Append(": ");
  for (int32_t i = 0; i < count; ++i) Append(parts[i]);
}

constexpr SplitcHost kHost = {Launch, BorrowScratch, GiveBackScratch, KeepError};

}  // namespace
}  // namespace splitc

extern "C" {

__attribute__((visibility("default"))) const SplitcHost* splitc_host_table() {
  return &splitc::kHost;
}

// Why the last call of a model from this thread failed.
__attribute__((visibility("default"))) const char* splitc_host_error() { return splitc::error; }

// See Rest, SetThreads and Threads.
__attribute__((visibility("default"))) void splitc_host_rest() { splitc::Rest(); }
__attribute__((visibility("default"))) int splitc_host_set_threads(int threads) {
  return splitc::SetThreads(threads) ? 1 : 0;
}
__attribute__((visibility("default"))) int splitc_host_threads() { return splitc::Threads(); }

}  // extern "C"
