/* SPDX-License-Identifier: Apache-2.0
 *
 * A plug-in of qemu's user mode that counts how often each translated block runs, and what goes
 * between a core's caches meanwhile.
 *
 *     qemu-aarch64 -plugin arm_counts.so,counts=FILE[,traffic=FILE,cache=BYTES/WAYS...] PROGRAM
 *
 * FILE gets a record a block that ran: address, count and number of instructions (64 bits each),
 * then the instructions. The other gets four numbers (64 bits) a cache, as `Traffic` in
 * arm_caches.h has them; caches are given from the core outwards, and without any no access to
 * memory is looked at. Both are written when the program ends or calls getpriority(MARK, 2);
 * getpriority(MARK, 1) sets all counts to 0. One thread is counted: others' runs may get lost.
 *
 * What is declared here of qemu's interface: QEMU 7.2, "QEMU TCG Plugins", include/qemu/
 * qemu-plugin.h, which Debian does not ship.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arm_caches.h"

enum { kMark = 0x53504c54, kStart = 1, kStop = 2, kGetPriority = 141, kAdd = 0 };
enum { kNoRegisters = 0, kReadsAndWrites = 3 };

typedef uint64_t Id;
typedef struct qemu_plugin_tb Tb;
typedef struct qemu_plugin_insn Insn;
typedef void (*SyscallCallback)(Id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t,
                                uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(Id, void (*)(Id, Tb*));
extern void qemu_plugin_register_vcpu_tb_exec_inline(Tb*, int, void*, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(Id, SyscallCallback);
typedef void (*MemoryCallback)(unsigned cpu, uint32_t about, uint64_t address, void*);
extern void qemu_plugin_register_vcpu_mem_cb(Insn*, MemoryCallback, int, int, void*);
extern unsigned qemu_plugin_mem_size_shift(uint32_t about);
extern bool qemu_plugin_mem_is_store(uint32_t about);
extern void qemu_plugin_register_atexit_cb(Id, void (*)(Id, void*), void*);
extern size_t qemu_plugin_tb_n_insns(const Tb*);
extern uint64_t qemu_plugin_tb_vaddr(const Tb*);
extern Insn* qemu_plugin_tb_get_insn(const Tb*, size_t);
extern const void* qemu_plugin_insn_data(const Insn*);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

typedef struct Block {
  struct Block* next;
  uint64_t address, count, length;
  uint32_t words[];
} Block;

static Block* blocks;
static Caches caches;
static const char *path, *traffic_path;
static int written;

static void Accessed(unsigned cpu, uint32_t about, uint64_t address, void* data) {
  (void)cpu, (void)data;
  const unsigned bytes = 1u << qemu_plugin_mem_size_shift(about);
  Access(&caches, address, bytes, qemu_plugin_mem_is_store(about));
}

/* qemu translates under a lock: no two of these run at once. */
static void Translated(Id id, Tb* tb) {
  (void)id;
  const size_t length = qemu_plugin_tb_n_insns(tb);
  Block* block = calloc(1, sizeof(Block) + length * sizeof(uint32_t));
  if (block == NULL) abort();
  block->address = qemu_plugin_tb_vaddr(tb);
  block->length = length;
  for (size_t i = 0; i < length; ++i) {
    Insn* instruction = qemu_plugin_tb_get_insn(tb, i);
    memcpy(&block->words[i], qemu_plugin_insn_data(instruction), 4);
    if (caches.count == 0) continue;
    qemu_plugin_register_vcpu_mem_cb(instruction, Accessed, kNoRegisters, kReadsAndWrites, NULL);
  }
  block->next = blocks;
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_inline(tb, kAdd, &block->count, 1);
}

static void WriteTraffic(void) {
  FILE* file = fopen(traffic_path, "wb");
  if (file == NULL) abort();
  for (int i = 0; i < caches.count; ++i) {
    fwrite(&caches.levels[i].traffic, sizeof(Traffic), 1, file);
  }
  if (fclose(file) != 0) abort();
}

static void Write(void) {
  if (traffic_path != NULL) WriteTraffic();
  FILE* file = fopen(path, "wb");
  if (file == NULL) abort();
  for (const Block* block = blocks; block != NULL; block = block->next) {
    if (block->count == 0) continue;
    fwrite(&block->address, sizeof(uint64_t), 3, file);
    fwrite(block->words, sizeof(uint32_t), block->length, file);
  }
  if (fclose(file) != 0) abort();
  written = 1;
}

static void Called(Id id, unsigned cpu, int64_t number, uint64_t which, uint64_t who, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number != kGetPriority || which != kMark) return;
  if (who == kStop) Write();
  if (who != kStart) return;
  for (Block* block = blocks; block != NULL; block = block->next) block->count = 0;
  ForgetTraffic(&caches);
}

static void Left(Id id, void* data) {
  (void)id, (void)data;
  if (!written) Write();
}

static int Given(const char* argument) {
  if (strncmp(argument, "counts=", 7) == 0) return (path = strdup(argument + 7)) != NULL;
  if (strncmp(argument, "traffic=", 8) == 0) return (traffic_path = strdup(argument + 8)) != NULL;
  uint64_t bytes;
  unsigned ways;
  return sscanf(argument, "cache=%" SCNu64 "/%u", &bytes, &ways) == 2 &&
         AddLevel(&caches, bytes, ways);
}

__attribute__((visibility("default"))) int qemu_plugin_install(Id id, const void* info, int argc,
                                                               char** argv) {
  (void)info;
  for (int i = 0; i < argc; ++i) {
    if (!Given(argv[i])) return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, Translated);
  qemu_plugin_register_vcpu_syscall_cb(id, Called);
  qemu_plugin_register_atexit_cb(id, Left, NULL);
  return path == NULL;
}
