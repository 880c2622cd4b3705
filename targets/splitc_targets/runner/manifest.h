// SPDX-License-Identifier: Apache-2.0
//
// manifest.json of a part: what it is for, its contract (inputs and outputs),
// and the size and hash of every file in it.

#ifndef SPLITC_RUNNER_MANIFEST_H_
#define SPLITC_RUNNER_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dtype.h"
#include "sha256.h"
#include "wire.h"

namespace splitc {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr uint64_t kMaxManifestBytes = 1 << 20;
inline constexpr int64_t kManifestSchema = 2;
// What code this program runs says of its form: compiled, and not ONNX.
inline constexpr char kFormat[] = "native";

struct TensorSpec {
  std::string name;
  const DType* dtype = nullptr;
  Shape shape;
  uint64_t bytes = 0;
};

struct FileSpec {
  uint64_t bytes = 0;
  Sha256Digest sha256{};
};

// One route on which a server goes on where a head ends.
struct Remote {
  uint16_t route = 0;
  std::string name;
  std::vector<TensorSpec> crosses;
  std::vector<Missing> missing;  // one for each that crosses
  std::vector<TensorSpec> results;
  std::vector<std::string> outputs;  // the network's results by name, also those made here
};

struct Manifest {
  std::string part;
  uint64_t split = 0;  // which split network it is of: the start of its digest
  std::string isa;
  std::string cpu;  // empty if any CPU of that ISA will do
  std::vector<std::string> features;  // beside those of `cpu`, as the compiler names them
  std::string entry;
  std::string model;
  std::string weights;  // the file that they are mapped from; empty if there are none
  uint64_t packed_bytes = 0;      // weights in the form that the code reads, made at load
  uint64_t activation_bytes = 0;  // memory for tensors between the layers
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, FileSpec> files;
  std::vector<Remote> remote;  // of a head
};

// Fails (kBadInput) unless `text` is a complete, consistent manifest.
Manifest ParseManifest(std::string_view text);

}  // namespace splitc

#endif  // SPLITC_RUNNER_MANIFEST_H_
