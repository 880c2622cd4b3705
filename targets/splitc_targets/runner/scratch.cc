// SPDX-License-Identifier: Apache-2.0
//
// A list of free pieces a thread.

#include "scratch.h"

#include <pthread.h>

#include <cstdlib>

namespace splitc {
namespace {

constexpr int kMostKept = 8;

// In front of the memory that is handed out; as long as it is aligned.
struct alignas(64) Piece {
  Piece* next;
  uint64_t bytes;
};

thread_local Piece* kept = nullptr;
thread_local int kept_count = 0;
pthread_key_t thread_end;
pthread_once_t once = PTHREAD_ONCE_INIT;

void FreeKept(void*) {
  while (Piece* piece = kept) {
    kept = piece->next;
    std::free(piece);
  }
  kept_count = 0;
}

}  // namespace

void* BorrowScratch(uint64_t bytes) {
  for (Piece** at = &kept; *at != nullptr; at = &(*at)->next) {
    Piece* piece = *at;
    if (piece->bytes < bytes) continue;
    *at = piece->next;
    --kept_count;
    return piece + 1;
  }
  const uint64_t whole = (bytes + sizeof(Piece) - 1) / sizeof(Piece) * sizeof(Piece);
  void* memory = std::aligned_alloc(alignof(Piece), sizeof(Piece) + whole);
  if (memory == nullptr) return nullptr;
  Piece* piece = static_cast<Piece*>(memory);
  piece->bytes = whole;
  return piece + 1;
}

void GiveBackScratch(void* memory) {
  Piece* piece = static_cast<Piece*>(memory) - 1;
  if (kept_count == kMostKept) return std::free(piece);
  pthread_once(&once, [] { pthread_key_create(&thread_end, FreeKept); });
  // The key's destructor runs in threads where its value is not null.
  if (kept == nullptr) pthread_setspecific(thread_end, piece);
  piece->next = kept;
  kept = piece;
  ++kept_count;
}

}  // namespace splitc
