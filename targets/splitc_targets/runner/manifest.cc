// SPDX-License-Identifier: Apache-2.0
//
// Reads and checks manifest.json. The text is untrusted: above all, no name in
// it may lead outside the part's folder.

#include "manifest.h"

#include <algorithm>

#include "error.h"
#include "json.h"
#include "text.h"

namespace splitc {
namespace {

using Kind = JsonValue::Kind;

constexpr size_t kMaxTensors = 256;
constexpr size_t kMaxFiles = 256;
constexpr size_t kMaxNameBytes = 255;
constexpr int64_t kMaxMemoryBytes = int64_t{1} << 46;

[[noreturn]] void Bad(const std::string& why) { Fail(ExitCode::kBadInput, kManifestName, why); }

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

const JsonValue& Member(const JsonValue& object, const std::string& key, Kind kind) {
  const JsonValue* value = object.Find(key);
  if (value == nullptr) Bad(Quoted(key) + " is missing");
  if (!value->is(kind)) Bad(Quoted(key) + " is of the wrong type");
  return *value;
}

// A name that is only ever shown or passed on: any text on one line.
std::string CheckedText(const JsonValue& value, const std::string& key) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  const std::string& text = value.text;
  if (!value.is(Kind::kString)) Bad(Quoted(key) + " is not a string");
  if (text.size() > kMaxNameBytes) Bad(Quoted(key) + " is too long");
  if (std::any_of(text.begin(), text.end(), is_control)) {
    Bad(Quoted(key) + " has a control character");
  }
  return text;
}

std::string TextMember(const JsonValue& object, const std::string& key) {
  const std::string text = CheckedText(Member(object, key, Kind::kString), key);
  if (text.empty()) Bad(Quoted(key) + " is empty");
  return text;
}

// The leading dot covers "." and "..", and hidden files.
std::string CheckedFileName(const JsonValue& value, const std::string& key) {
  const std::string name = CheckedText(value, key);
  if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos) {
    Bad(Quoted(key) + " has " + Quoted(name) + ", which is not a plain file name");
  }
  return name;
}

Shape ParseShape(const JsonValue& array, const std::string& where) {
  if (array.items.size() > kMaxRank) Bad(where + " has too many dimensions");
  Shape shape;
  for (const JsonValue& item : array.items) {
    if (!item.is(Kind::kInteger) || item.integer < 1) {
      Bad(where + " has a dimension that is not a positive integer");
    }
    shape.push_back(item.integer);
  }
  return shape;
}

std::vector<TensorSpec> ParseTensors(const JsonValue& manifest, const std::string& key) {
  const JsonValue& array = Member(manifest, key, Kind::kArray);
  if (array.items.empty()) Bad(Quoted(key) + " is empty");
  if (array.items.size() > kMaxTensors) Bad(Quoted(key) + " has too many tensors");
  std::vector<TensorSpec> tensors;
  for (const JsonValue& item : array.items) {
    const std::string where = key + "[" + Decimal(tensors.size()) + "]";
    if (!item.is(Kind::kObject)) Bad(where + " is not an object");
    TensorSpec spec;
    spec.name = TextMember(item, "name");
    const std::string dtype = TextMember(item, "dtype");
    spec.dtype = FindDType(dtype);
    if (spec.dtype == nullptr) Bad(where + " has unknown dtype " + Quoted(dtype));
    spec.shape = ParseShape(Member(item, "shape", Kind::kArray), where);
    if (!TensorBytes(*spec.dtype, spec.shape, &spec.bytes)) Bad(where + " is too large");
    tensors.push_back(std::move(spec));
  }
  return tensors;
}

Sha256Digest ParseDigest(const std::string& hex, const std::string& name) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  Sha256Digest digest{};
  if (hex.size() != 2 * digest.size()) Bad("sha256 of " + Quoted(name) + " has the wrong length");
  for (size_t i = 0; i < hex.size(); ++i) {
    const size_t nibble = kHex.find(hex[i]);
    if (nibble == std::string_view::npos) {
      Bad("sha256 of " + Quoted(name) + " is not lower-case hexadecimal");
    }
    digest[i / 2] = static_cast<uint8_t>(digest[i / 2] * 16u + nibble);
  }
  return digest;
}

std::map<std::string, FileSpec> ParseFiles(const JsonValue& manifest) {
  const JsonValue& object = Member(manifest, "files", Kind::kObject);
  if (object.items.size() > kMaxFiles) Bad("\"files\" has too many entries");
  std::map<std::string, FileSpec> files;
  for (size_t i = 0; i < object.items.size(); ++i) {
    JsonValue key;
    key.kind = Kind::kString;
    key.text = object.keys[i];
    const std::string name = CheckedFileName(key, "files");
    if (name == kManifestName) Bad("\"files\" lists " + name + " itself");
    if (!object.items[i].is(Kind::kObject)) Bad("entry of " + Quoted(name) + " is not an object");
    FileSpec spec;
    const int64_t bytes = Member(object.items[i], "bytes", Kind::kInteger).integer;
    if (bytes < 0) Bad("\"bytes\" of " + Quoted(name) + " is negative");
    spec.bytes = static_cast<uint64_t>(bytes);
    spec.sha256 = ParseDigest(Member(object.items[i], "sha256", Kind::kString).text, name);
    files.emplace(name, spec);
  }
  return files;
}

void CheckListed(const Manifest& manifest, const std::string& name) {
  if (manifest.files.count(name) == 0) Bad(Quoted(name) + " is not listed in \"files\"");
}

std::vector<std::string> ParseFeatures(const JsonValue& manifest) {
  std::vector<std::string> features;
  for (const JsonValue& item : Member(manifest, "features", Kind::kArray).items) {
    if (!item.is(Kind::kString)) Bad("\"features\" has what is not a text");
    features.push_back(item.text);
  }
  return features;
}

// A size in bytes; 0 where the manifest leaves it out.
uint64_t BytesMember(const JsonValue& object, const std::string& key) {
  if (object.Find(key) == nullptr) return 0;
  const int64_t bytes = Member(object, key, Kind::kInteger).integer;
  if (bytes < 0) Bad(Quoted(key) + " is negative");
  if (bytes > kMaxMemoryBytes) Bad(Quoted(key) + " is too large");
  return static_cast<uint64_t>(bytes);
}

// Weights are read at places that the code has compiled in: the file is as long as it says.
void ParseWeights(const JsonValue& root, Manifest* manifest) {
  const uint64_t bytes = BytesMember(root, "weight_bytes");
  if (root.Find("weights") == nullptr) {
    if (bytes != 0) Bad("\"weight_bytes\" is not 0, but there are no \"weights\"");
    return;
  }
  const std::string name = CheckedFileName(*root.Find("weights"), "weights");
  manifest->weights = name;
  CheckListed(*manifest, name);
  if (name == manifest->model) Bad("\"weights\" is also \"model\"");
  if (manifest->files.at(name).bytes != bytes) {
    Bad("\"weight_bytes\" is not the size of " + Quoted(name));
  }
}

}  // namespace

Manifest ParseManifest(std::string_view text) {
  const JsonValue root = ParseJson(text, kManifestName);
  if (!root.is(Kind::kObject)) Bad("is not an object");
  const int64_t schema = Member(root, "schema", Kind::kInteger).integer;
  if (schema != kManifestSchema) {
    Bad("schema " + Decimal(schema) + " is not the supported " +
        Decimal(kManifestSchema));
  }
  const std::string format = TextMember(root, "format");
  if (format != kFormat) Bad("format " + Quoted(format) + " is not " + Quoted(kFormat));
  Manifest manifest;
  manifest.part = TextMember(root, "part");
  manifest.isa = TextMember(root, "isa");
  manifest.entry = TextMember(root, "entry");
  if (root.Find("cpu") != nullptr) manifest.cpu = TextMember(root, "cpu");
  if (root.Find("features") != nullptr) manifest.features = ParseFeatures(root);
  manifest.model = CheckedFileName(Member(root, "model", Kind::kString), "model");
  manifest.inputs = ParseTensors(root, "inputs");
  manifest.outputs = ParseTensors(root, "outputs");
  manifest.files = ParseFiles(root);
  CheckListed(manifest, manifest.model);
  ParseWeights(root, &manifest);
  manifest.packed_bytes = BytesMember(root, "packed_bytes");
  manifest.activation_bytes = BytesMember(root, "activation_bytes");
  return manifest;
}

}  // namespace splitc
