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

namespace splitc {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr uint64_t kMaxManifestBytes = 1 << 20;
inline constexpr int64_t kManifestSchema = 2;
// The library that holds the C functions in tvm_abi.h.
inline constexpr char kFfiLibrary[] = "libtvm_ffi.so";

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

struct Manifest {
  std::string part;
  std::string isa;
  std::string cpu;  // empty if any CPU of that ISA will do
  std::vector<std::string> features;  // beside those of `cpu`, as the compiler names them
  std::string entry;
  std::string model;
  std::vector<std::string> libraries;  // in the order to load them
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, FileSpec> files;
};

// Fails (kBadInput) unless `text` is a complete, consistent manifest.
Manifest ParseManifest(std::string_view text);

}  // namespace splitc

#endif  // SPLITC_RUNNER_MANIFEST_H_
