// SPDX-License-Identifier: Apache-2.0
//
// A tiny strict JSON reader for untrusted text. Depth and number of values are
// bounded, duplicate keys and bad UTF-8 are errors. Numbers that are not plain
// 64-bit integers are reals.

#ifndef SPLITC_RUNNER_JSON_H_
#define SPLITC_RUNNER_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace splitc {

class JsonValue {
 public:
  enum class Kind : uint8_t { kNull, kBool, kInteger, kReal, kString, kArray, kObject };

  bool is(Kind kind) const { return kind == this->kind; }
  bool is_number() const { return is(Kind::kInteger) || is(Kind::kReal); }
  // The member called `key`, or null; also null if this is not an object.
  const JsonValue* Find(std::string_view key) const;

  Kind kind = Kind::kNull;
  bool boolean = false;
  int64_t integer = 0;
  double real = 0;  // of any number, the nearest there is
  std::string text;
  std::vector<JsonValue> items;   // elements of an array, values of an object
  std::vector<std::string> keys;  // keys of an object, alongside items
};

// Fails with that code, and names `source` and the place in the text.
JsonValue ParseJson(std::string_view text, const std::string& source,
                    ExitCode code = ExitCode::kBadInput);

// `text` as a JSON string, with the quotes.
std::string JsonQuote(std::string_view text);

// `,"key":1.250`, a further member of an object.
std::string NumberMember(const char* key, double value);

}  // namespace splitc

#endif  // SPLITC_RUNNER_JSON_H_
