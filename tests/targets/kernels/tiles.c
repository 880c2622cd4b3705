/* SPDX-License-Identifier: Apache-2.0
 *
 * A twin of the instructions on tiles (AMX), for processors without: each thread's eight registers,
 * read, multiplied and written an element at a time as Intel's manual describes each instruction.
 * What an instruction would fault on is noted; a register's rows and bytes are those that
 * `ldtilecfg` gave it, and what lies beyond them is 0.
 */

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { kTiles = 8, kRows = 16, kBytes = 64 };

typedef struct {
  int configured;
  int rows[kTiles], bytes[kTiles];
  uint8_t data[kTiles][kRows][kBytes];
} State;

static _Thread_local State state;
static _Atomic(const char*) fault;
static atomic_int begun, ended;
static atomic_long products;

static void Note(const char* what) {
  const char* none = NULL;
  atomic_compare_exchange_strong(&fault, &none, what);
}

/* What the first wrong instruction was; NULL where none was. */
const char* twin_fault(void) { return atomic_load(&fault); }

/* How many threads' stretches have begun and not ended. */
int twin_open(void) { return atomic_load(&begun) - atomic_load(&ended); }

/* Products since the last call. */
long twin_products(void) { return atomic_exchange(&products, 0); }

void twin_ldtilecfg(const uint8_t* table) {
  if (state.configured) Note("ldtilecfg in a stretch that has begun");
  if (table[0] != 1 || table[1] != 0) Note("ldtilecfg: not palette 1 from its start");
  memset(&state, 0, sizeof state);
  for (int i = 2; i < 16; i++) {
    if (table[i] != 0) Note("ldtilecfg: reserved bytes");
  }
  for (int tile = 0; tile < 16; tile++) {
    const int bytes = table[16 + 2 * tile] | table[17 + 2 * tile] << 8, rows = table[48 + tile];
    if (rows > kRows || bytes > kBytes || (rows == 0) != (bytes == 0)) Note("ldtilecfg: a shape");
    if (tile >= kTiles && rows + bytes != 0) Note("ldtilecfg: a register that is not there");
    if (tile < kTiles) state.rows[tile] = rows, state.bytes[tile] = bytes;
  }
  state.configured = 1;
  atomic_fetch_add(&begun, 1);
}

void twin_tilerelease(void) {
  if (!state.configured) Note("tilerelease in no stretch");
  memset(&state, 0, sizeof state);
  atomic_fetch_add(&ended, 1);
}

static int Known(int tile, const char* what) {
  if (state.configured && tile < kTiles && state.rows[tile] != 0) return 1;
  Note(what);
  return 0;
}

void twin_tilezero(int tile) {
  if (!Known(tile, "tilezero of a register without a shape")) return;
  memset(state.data[tile], 0, sizeof state.data[tile]);
}

void twin_tileloadd64(int tile, const uint8_t* from, int64_t step) {
  if (!Known(tile, "tileloadd of a register without a shape")) return;
  memset(state.data[tile], 0, sizeof state.data[tile]);
  for (int row = 0; row < state.rows[tile]; row++) {
    memcpy(state.data[tile][row], from + row * step, state.bytes[tile]);
  }
}

void twin_tilestored64(int tile, uint8_t* to, int64_t step) {
  if (!Known(tile, "tilestored of a register without a shape")) return;
  for (int row = 0; row < state.rows[tile]; row++) {
    memcpy(to + row * step, state.data[tile][row], state.bytes[tile]);
  }
}

static int Fits(int total, int left, int right) {
  if (!Known(total, "a product into a register without a shape")) return 0;
  if (!Known(left, "a product of a register without a shape")) return 0;
  if (!Known(right, "a product by a register without a shape")) return 0;
  const int fits = state.rows[total] == state.rows[left] &&
                   state.bytes[total] == state.bytes[right] &&
                   state.bytes[left] == 4 * state.rows[right] && total != left &&
                   total != right && left != right;
  if (!fits) Note("a product of shapes that do not fit");
  atomic_fetch_add(&products, 1);
  return fits;
}

static float Flushed(float value) {
  return fpclassify(value) == FP_SUBNORMAL ? copysignf(0.0f, value) : value;
}

static float Float(const uint8_t* at) {
  uint16_t half;
  memcpy(&half, at, sizeof half);
  const uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return Flushed(value);
}

void twin_tdpbf16ps(int total, int left, int right) {
  if (!Fits(total, left, right)) return;
  for (int m = 0; m < state.rows[total]; m++) {
    for (int k = 0; k < state.bytes[left] / 4; k++) {
      for (int n = 0; n < state.bytes[total] / 4; n++) {
        float sum;
        memcpy(&sum, &state.data[total][m][4 * n], sizeof sum);
        for (int half = 0; half < 4; half += 2) {
          const float a = Float(&state.data[left][m][4 * k + half]);
          const float b = Float(&state.data[right][k][4 * n + half]);
          sum = Flushed(fmaf(a, b, Flushed(sum)));
        }
        memcpy(&state.data[total][m][4 * n], &sum, sizeof sum);
      }
    }
  }
}

void twin_tdpbusd(int total, int left, int right) {
  if (!Fits(total, left, right)) return;
  for (int m = 0; m < state.rows[total]; m++) {
    for (int k = 0; k < state.bytes[left] / 4; k++) {
      for (int n = 0; n < state.bytes[total] / 4; n++) {
        uint32_t sum;
        memcpy(&sum, &state.data[total][m][4 * n], sizeof sum);
        for (int byte = 0; byte < 4; byte++) {
          const int a = state.data[left][m][4 * k + byte];
          sum += (uint32_t)(a * (int8_t)state.data[right][k][4 * n + byte]);
        }
        memcpy(&state.data[total][m][4 * n], &sum, sizeof sum);
      }
    }
  }
}
