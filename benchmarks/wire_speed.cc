// SPDX-License-Identifier: Apache-2.0
//
// How fast the runner cuts a boundary into packets and puts it together again, beside memcpy.
// Prints one JSON object; benchmarks/wire.py builds and runs it.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpu.cc"
#include "dtype.cc"
#include "error.cc"
#include "hmac.cc"
#include "reassemble.cc"
#include "seal.cc"
#include "sha256.cc"
#include "sha256_hw.cc"
#include "support.cc"
#include "utf8.cc"
#include "wire.cc"

namespace {

using namespace splitc;

constexpr size_t kPayload = 1404;
constexpr int kRounds = 201;
constexpr int kCalls = 20;

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Work {
  Boundary boundary;
  std::vector<uint32_t> order;
  std::vector<uint8_t> tensors;
  std::vector<uint8_t> again;
  std::vector<uint8_t> block;
  std::vector<uint8_t> came;
  size_t stride;

  explicit Work(uint64_t bytes)
      : boundary({{FindDType("float32"), bytes, {}}}, kPayload),
        order(ElementOrder(boundary.most_units(), 1)),
        tensors(bytes),
        again(bytes),
        came(boundary.chunks(), 1),
        stride((kHeaderBytes + kPayload + kTagBytes + 63) / 64 * 64) {
    for (size_t i = 0; i < bytes; ++i) tensors[i] = static_cast<uint8_t>(i * 7);
    block.resize(boundary.chunks() * stride);
    boundary.TakeOrder(order);
  }

  void Copy() {
    std::memcpy(again.data(), tensors.data(), tensors.size());
    // The copy is wanted, whatever the compiler thinks.
    __asm__ volatile("" : : "r"(again.data()) : "memory");
  }

  void Pack() {
    Header header;
    header.chunks = static_cast<uint16_t>(boundary.chunks());
    for (uint32_t chunk = 0; chunk < boundary.chunks(); ++chunk) {
      uint8_t* packet = &block[chunk * stride];
      header.chunk = static_cast<uint16_t>(chunk);
      WriteHeader(header, packet);
      boundary.Pack(tensors.data(), chunk, packet + kHeaderBytes);
    }
  }

  void Unpack() {
    boundary.Unpack(block.data() + kHeaderBytes, stride, came.data(), 0, again.data());
  }

  void Seal() {
    const Key key{};
    Header header;
    for (uint32_t chunk = 0; chunk < boundary.chunks(); ++chunk) {
      header.chunk = static_cast<uint16_t>(chunk);
      SealPacket(key, header, &block[chunk * stride], kHeaderBytes + boundary.ChunkBytes(chunk));
    }
  }
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end(), [](double a, double b) { return a < b; });
  return values[values.size() / 2];
}

}  // namespace

// The size of the boundary in bytes is the one argument.
int main(int argc, char** argv) {
  const uint64_t bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 10) / 4 * 4 : 65536;
  Work work(bytes);
  void (Work::*const steps[])() = {&Work::Copy, &Work::Pack, &Work::Unpack, &Work::Seal};
  std::vector<double> seconds[4];
  for (int round = 0; round < kRounds; ++round) {
    for (int step = 0; step < 4; ++step) {
      // Sealing is of what Pack wrote last, over and over.
      const double start = Seconds();
      for (int call = 0; call < kCalls; ++call) (work.*steps[step])();
      seconds[step].push_back((Seconds() - start) / kCalls);
    }
  }
  work.Pack();
  work.Unpack();
  if (work.again != work.tensors) return 1;
  const double gigabytes = static_cast<double>(bytes) * 1e-9;
  std::printf("{\"bytes\":%llu,\"memcpy_gbps\":%.3f,\"pack_gbps\":%.3f,\"unpack_gbps\":%.3f,"
              "\"seal_gbps\":%.3f}\n",
              static_cast<unsigned long long>(bytes), gigabytes / Median(seconds[0]),
              gigabytes / Median(seconds[1]), gigabytes / Median(seconds[2]),
              gigabytes / Median(seconds[3]));
  return 0;
}
