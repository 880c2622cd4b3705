/* SPDX-License-Identifier: Apache-2.0
 *
 * A model of a core's data caches: which lines come from where, and which of them a prefetcher
 * would have foreseen.
 *
 * Each level is set-associative, replaces the line that was used longest ago, takes in lines that
 * are stored to and writes them to the next when they leave it. The first level asks the second,
 * and so on; what the last does not have comes from memory. Addresses are the program's own, not
 * the machine's. One core, no instructions, no page tables.
 */
#ifndef ARM_CACHES_H_
#define ARM_CACHES_H_

#include <stdint.h>
#include <stdlib.h>

enum { kLevels = 3, kLineBits = 6, kStreams = 16, kPage = 4096 >> kLineBits };

/* What a level asked of the next: lines for loads, for stores, and lines that left it changed.
 * Those for loads are told apart: foreseen where they continue a stream of misses. */
typedef struct {
  uint64_t foreseen, unforeseen, stored, written;
} Traffic;

typedef struct {
  uint64_t line, used;
  int changed;
} Way;

/* Misses of a level that lie as far apart as the two before them. */
typedef struct {
  uint64_t line, used;
  int64_t step;
} Stream;

typedef struct {
  Way* ways;
  uint64_t sets, clock;
  unsigned count;
  Stream streams[kStreams];
  Traffic traffic;
} Level;

typedef struct {
  Level levels[kLevels];
  int count;
  uint64_t recent; /* the line that was used last, and whether that is known to be changed */
  int changed;
} Caches;

/* Adds a level behind those that there are; 0 where its size is none. */
static int AddLevel(Caches* caches, uint64_t bytes, unsigned ways) {
  const uint64_t sets = ways == 0 ? 0 : (bytes >> kLineBits) / ways;
  if (caches->count == kLevels || sets == 0 || (sets & (sets - 1)) != 0) return 0;
  Level* level = &caches->levels[caches->count++];
  level->ways = calloc(sets * ways, sizeof(Way));
  level->sets = sets;
  level->count = ways;
  caches->recent = UINT64_MAX;
  return level->ways != NULL;
}

/* Whether a stream of misses has this line next; it is part of one from now on. */
static int Foreseen(Level* level, uint64_t line) {
  Stream *oldest = level->streams, *found = NULL;
  for (Stream* each = level->streams; each < level->streams + kStreams; ++each) {
    const int64_t step = (int64_t)(line - each->line);
    if (each->used != 0 && step != 0 && step == each->step) {
      each->line = line;
      each->used = level->clock;
      return 1;
    }
    if (each->used != 0 && step > -kPage && step < kPage &&
        (found == NULL || each->used > found->used)) {
      found = each;
    }
    if (each->used < oldest->used) oldest = each;
  }
  Stream* stream = found != NULL ? found : oldest;
  stream->step = found != NULL ? (int64_t)(line - found->line) : 0;
  stream->line = line;
  stream->used = level->clock;
  return 0;
}

static void Touch(Caches* caches, int number, uint64_t line, int store);

/* A line that leaves a level changed goes to the next, which may have lost it already. */
static void WriteBack(Caches* caches, int number, uint64_t line) {
  ++caches->levels[number].traffic.written;
  for (int next = number + 1; next < caches->count; ++next) {
    Level* level = &caches->levels[next];
    Way* set = level->ways + (line & (level->sets - 1)) * level->count;
    for (unsigned i = 0; i < level->count; ++i) {
      if (set[i].used != 0 && set[i].line == line) {
        set[i].changed = 1;
        return;
      }
    }
    ++level->traffic.written;
  }
}

/* A level is asked for a line. */
static void Touch(Caches* caches, int number, uint64_t line, int store) {
  if (number == caches->count) return;
  Level* level = &caches->levels[number];
  Way* set = level->ways + (line & (level->sets - 1)) * level->count;
  Way* oldest = set;
  ++level->clock;
  for (Way* way = set; way < set + level->count; ++way) {
    if (way->used != 0 && way->line == line) {
      way->used = level->clock;
      if (number == 0 && store) way->changed = 1;
      return;
    }
    if (way->used < oldest->used) oldest = way;
  }
  if (oldest->used != 0 && oldest->changed) WriteBack(caches, number, oldest->line);
  *oldest = (Way){line, level->clock, number == 0 && store};
  const int foreseen = Foreseen(level, line);
  ++*(store      ? &level->traffic.stored
      : foreseen ? &level->traffic.foreseen
                 : &level->traffic.unforeseen);
  Touch(caches, number + 1, line, store);
}

/* The program reads or writes so many bytes. */
static void Access(Caches* caches, uint64_t address, unsigned bytes, int store) {
  const uint64_t last = (address + bytes - 1) >> kLineBits;
  for (uint64_t line = address >> kLineBits; line <= last; ++line) {
    if (line == caches->recent && (caches->changed || !store)) continue;
    Touch(caches, 0, line, store);
    caches->recent = line;
    caches->changed = store;
  }
}

/* Counts begin at 0; what the caches hold stays. */
static void ForgetTraffic(Caches* caches) {
  for (int i = 0; i < caches->count; ++i) caches->levels[i].traffic = (Traffic){0, 0, 0, 0};
}

#endif /* ARM_CACHES_H_ */
