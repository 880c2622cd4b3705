// SPDX-License-Identifier: Apache-2.0
//
// manifest.json of a part: what it is for, its contract (inputs and outputs),
// and the size and hash of every file in it.

#ifndef SPLITC_RUNNER_MANIFEST_H_
#define SPLITC_RUNNER_MANIFEST_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dtype.h"
#include "sha256.h"
#include "wire.h"

namespace splitc {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr uint64_t kMaxManifestBytes = 1 << 20;
// Of a tensor, or of what a part computes in.
inline constexpr uint64_t kMaxMemoryBytes = uint64_t{1} << 46;
inline constexpr int64_t kManifestSchema = 2;
// What code this program runs says of its form: compiled, and not ONNX.
inline constexpr char kFormat[] = "native";

struct TensorSpec {
  std::string name;
  const DType* dtype = nullptr;
  Shape shape;
  std::string layout;  // of dimensions, where it is not the network's own
  uint64_t bytes = 0;
};

// Whether what makes the one makes what reads the other.
bool SameTensor(const TensorSpec& a, const TensorSpec& b);

struct FileSpec {
  uint64_t bytes = 0;
  Sha256Digest sha256{};
};

// What a route is expected to take on each side, all its parts, and to give.
struct Expected {
  double head_ms = 0;
  double tail_ms = 0;
  double link_ms = 0;  // on the link that it was compiled for
  double agreement = 1;  // share of samples whose largest result a codec leaves where it is
};

// One route on which a server goes on where a head ends.
struct Remote {
  uint16_t route = 0;
  std::string name;
  std::vector<std::string> runs;  // the device's parts in order, this one first
  std::optional<Expected> expected;
  std::vector<TensorSpec> crosses;
  std::vector<Missing> missing;  // one for each that crosses
  std::vector<TensorSpec> results;
  std::vector<std::string> outputs;  // the network's results by name, also those made here
};

struct Manifest {
  std::string part;
  Sha256Digest split{};  // which split network it is of
  std::string isa;
  std::string cpu;  // empty if any CPU of that ISA will do
  std::vector<std::string> features;  // beside those of `cpu`, as the compiler names them
  bool on_gpu = false;  // a graphics processor computes
  std::string entry;
  std::string model;
  std::string weights;  // the file that they are mapped from; empty if there are none
  uint64_t packed_bytes = 0;      // weights in the form that the code reads, made at load
  uint64_t activation_bytes = 0;  // memory for tensors between the layers
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, FileSpec> files;
  std::vector<Remote> remote;  // of a head

  // What stands for the split in packets: the start of its digest.
  uint64_t split_id() const;
};

// Fails (kBadInput) unless `text` is a complete, consistent manifest.
Manifest ParseManifest(std::string_view text);

}  // namespace splitc

#endif  // SPLITC_RUNNER_MANIFEST_H_
