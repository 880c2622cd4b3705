// SPDX-License-Identifier: Apache-2.0
//
// Reads and checks manifest.json. The text is untrusted: above all, no name in
// it may lead outside the part's folder.

#include "manifest.h"

#include <algorithm>
#include <cstring>

#include "error.h"
#include "json.h"
#include "text.h"

namespace splitc {
namespace {

using Kind = JsonValue::Kind;

constexpr size_t kMaxTensors = 256;
constexpr size_t kMaxFiles = 256;
constexpr size_t kMaxRoutes = 256;
constexpr size_t kMaxRuns = 64;
constexpr double kMaxMilliseconds = 1e9;
constexpr size_t kMaxNameBytes = 255;
// Of a pattern for missing elements, and of elements that travel together.
constexpr size_t kMaxFillBytes = 256;
constexpr int64_t kMaxUnit = 256;

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
    if (!item.is(Kind::kInteger) || item.integer < 0) {
      Bad(where + " has a dimension that is no whole number");
    }
    shape.push_back(item.integer);
  }
  return shape;
}

// Tensors in an array that may be empty.
std::vector<TensorSpec> ParseAnyTensors(const JsonValue& manifest, const std::string& key) {
  const JsonValue& array = Member(manifest, key, Kind::kArray);
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
    if (!TensorBytes(*spec.dtype, spec.shape, &spec.bytes) || spec.bytes > kMaxMemoryBytes) {
      Bad(where + " is too large");
    }
    if (item.Find("layout") != nullptr) spec.layout = CheckedText(*item.Find("layout"), "layout");
    tensors.push_back(std::move(spec));
  }
  return tensors;
}

std::vector<TensorSpec> ParseTensors(const JsonValue& manifest, const std::string& key) {
  std::vector<TensorSpec> tensors = ParseAnyTensors(manifest, key);
  if (tensors.empty()) Bad(Quoted(key) + " is empty");
  return tensors;
}

std::string ParseHex(const std::string& hex, const std::string& what) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string bytes(hex.size() / 2, '\0');
  if (hex.size() % 2 != 0) Bad(what + " has the wrong length");
  for (size_t i = 0; i < hex.size(); ++i) {
    const size_t nibble = kHex.find(hex[i]);
    if (nibble == std::string_view::npos) Bad(what + " is not lower-case hexadecimal");
    bytes[i / 2] = static_cast<char>(static_cast<uint8_t>(bytes[i / 2]) * 16u + nibble);
  }
  return bytes;
}

Sha256Digest ParseDigest(const std::string& hex, const std::string& what) {
  const std::string bytes = ParseHex(hex, what);
  Sha256Digest digest;
  if (bytes.size() != digest.size()) Bad(what + " has the wrong length");
  std::memcpy(digest.data(), bytes.data(), digest.size());
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
    spec.sha256 = ParseDigest(Member(object.items[i], "sha256", Kind::kString).text,
                              "sha256 of " + Quoted(name));
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
  if (bytes > static_cast<int64_t>(kMaxMemoryBytes)) Bad(Quoted(key) + " is too large");
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

Missing::Scale ParseScale(const std::string& name) {
  if (name == "realised") return Missing::Scale::kRealised;
  if (name == "rate") return Missing::Scale::kRate;
  if (name != "none") Bad("\"missing\" has unknown scale " + Quoted(name));
  return Missing::Scale::kNone;
}

// What a manifest leaves out is as splitc.runtime.manifest.Missing has it.
Missing ParseMissing(const JsonValue& item) {
  if (!item.is(Kind::kObject)) Bad("\"missing\" has what is not an object");
  Missing missing;
  missing.scale = Missing::Scale::kRealised;
  if (item.Find("scale") != nullptr) missing.scale = ParseScale(TextMember(item, "scale"));
  if (const JsonValue* fill = item.Find("fill")) {
    if (!fill->is(Kind::kString) || fill->text.size() > 2 * kMaxFillBytes) Bad("bad \"fill\"");
    missing.fill = ParseHex(fill->text, Quoted("fill"));
  }
  if (item.Find("unit") != nullptr) {
    const int64_t unit = Member(item, "unit", Kind::kInteger).integer;
    if (unit < 1 || unit > kMaxUnit) Bad("\"unit\" is not from 1 to " + Decimal(kMaxUnit));
    missing.unit = static_cast<uint32_t>(unit);
  }
  return missing;
}

std::vector<Missing> ParseMissings(const JsonValue& item, size_t count) {
  std::vector<Missing> missings;
  if (item.Find("missing") != nullptr) {
    for (const JsonValue& one : Member(item, "missing", Kind::kArray).items) {
      missings.push_back(ParseMissing(one));
    }
  }
  if (missings.empty()) missings.resize(count);
  if (missings.size() != count) Bad("\"missing\" is not one for each of \"crosses\"");
  return missings;
}

// What crosses, a head of one part has: as a result, or as what it was given. Of several, the
// parts know (see Head).
void CheckAtHand(const Manifest& manifest, const TensorSpec& tensor) {
  const auto same = [&tensor](const TensorSpec& other) { return SameTensor(tensor, other); };
  if (std::none_of(manifest.outputs.begin(), manifest.outputs.end(), same) &&
      std::none_of(manifest.inputs.begin(), manifest.inputs.end(), same)) {
    Bad(Quoted(tensor.name) + " crosses, but the part has no such tensor");
  }
}

// Names of folders beside this part's. One alone need not be named.
std::vector<std::string> ParseRuns(const JsonValue& item, const std::string& part) {
  std::vector<std::string> runs;
  if (item.Find("runs") != nullptr) {
    for (const JsonValue& name : Member(item, "runs", Kind::kArray).items) {
      runs.push_back(CheckedFileName(name, "runs"));
      if (runs.size() > kMaxRuns) Bad("\"runs\" has too many parts");
      if (std::count(runs.begin(), runs.end(), runs.back()) > 1) {
        Bad("\"runs\" has " + Quoted(runs.back()) + " twice");
      }
    }
  }
  if (runs.empty()) runs.push_back(part);
  if (runs.front() != part) Bad("\"runs\" begins with another part than " + Quoted(part));
  return runs;
}

double NumberFrom(const JsonValue& object, const std::string& key, double least, double most) {
  const JsonValue* value = object.Find(key);
  if (value == nullptr) Bad(Quoted(key) + " is missing");
  if (!value->is_number()) Bad(Quoted(key) + " is of the wrong type");
  if (!(value->real >= least && value->real <= most)) Bad(Quoted(key) + " is out of its range");
  return value->real;
}

std::optional<Expected> ParseExpected(const JsonValue& item) {
  const JsonValue* value = item.Find("expected");
  if (value == nullptr || value->is(Kind::kNull)) return std::nullopt;
  if (!value->is(Kind::kObject)) Bad("\"expected\" is of the wrong type");
  Expected expected;
  expected.head_ms = NumberFrom(*value, "head_ms", 0, kMaxMilliseconds);
  expected.tail_ms = NumberFrom(*value, "tail_ms", 0, kMaxMilliseconds);
  if (value->Find("link_ms") != nullptr) {
    expected.link_ms = NumberFrom(*value, "link_ms", 0, kMaxMilliseconds);
  }
  if (value->Find("agreement") != nullptr) {
    expected.agreement = NumberFrom(*value, "agreement", 0, 1);
  }
  return expected;
}

Remote ParseRemote(const JsonValue& item, const Manifest& manifest) {
  if (!item.is(Kind::kObject)) Bad("\"remote\" has what is not an object");
  Remote remote;
  const int64_t route = Member(item, "route", Kind::kInteger).integer;
  if (route < 0 || route > UINT16_MAX) Bad("\"route\" is not from 0 to 65535");
  remote.route = static_cast<uint16_t>(route);
  remote.name = TextMember(item, "name");
  remote.runs = ParseRuns(item, manifest.part);
  remote.expected = ParseExpected(item);
  remote.crosses = ParseTensors(item, "crosses");
  remote.missing = ParseMissings(item, remote.crosses.size());
  remote.results = ParseAnyTensors(item, "results");
  for (const JsonValue& name : Member(item, "outputs", Kind::kArray).items) {
    remote.outputs.push_back(CheckedText(name, "outputs"));
  }
  if (remote.runs.size() == 1) {
    for (const TensorSpec& tensor : remote.crosses) CheckAtHand(manifest, tensor);
  }
  return remote;
}

std::vector<Remote> ParseRemotes(const JsonValue& root, const Manifest& manifest) {
  std::vector<Remote> remotes;
  if (root.Find("remote") == nullptr) return remotes;
  const JsonValue& array = Member(root, "remote", Kind::kArray);
  if (array.items.size() > kMaxRoutes) Bad("\"remote\" has too many routes");
  for (const JsonValue& item : array.items) {
    remotes.push_back(ParseRemote(item, manifest));
    for (size_t i = 0; i + 1 < remotes.size(); ++i) {
      if (remotes[i].name == remotes.back().name || remotes[i].route == remotes.back().route) {
        Bad("\"remote\" has the route " + Quoted(remotes.back().name) + " twice");
      }
    }
  }
  return remotes;
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
  manifest.on_gpu = root.Find("device") != nullptr;
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
  manifest.remote = ParseRemotes(root, manifest);
  manifest.split = ParseDigest(Member(root, "split", Kind::kString).text, Quoted("split"));
  return manifest;
}

bool SameTensor(const TensorSpec& a, const TensorSpec& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.layout == b.layout;
}

uint64_t Manifest::split_id() const {
  uint64_t id;
  std::memcpy(&id, split.data(), sizeof id);
  return id;
}

}  // namespace splitc
