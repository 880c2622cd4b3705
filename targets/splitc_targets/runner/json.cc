// SPDX-License-Identifier: Apache-2.0
//
// A tiny strict JSON reader (RFC 8259) and string quoting.

#include "json.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "text.h"
#include "utf8.h"

namespace splitc {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kMaxValues = 100000;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(std::string_view text, const std::string& source, ExitCode code)
      : text_(text), source_(source), code_(code) {}

  JsonValue ParseDocument() {
    if (!IsValidUtf8(text_)) Fail(code_, source_, "is not UTF-8");
    JsonValue value = ParseValue();
    SkipSpace();
    if (pos_ != text_.size()) Bad("unexpected text after the end");
    return value;
  }

 private:
  [[noreturn]] void Bad(const std::string& why) const {
    Fail(code_, source_, why + " at byte " + Decimal(pos_));
  }

  // The current character; at the end, a NUL, which no JSON token starts with.
  char Peek() const { return pos_ < text_.size() ? text_[pos_] : '\0'; }

  void SkipSpace() {
    while (Peek() == ' ' || Peek() == '\t' || Peek() == '\n' || Peek() == '\r') ++pos_;
  }

  bool Accept(char c) {
    SkipSpace();
    if (Peek() != c) return false;
    ++pos_;
    return true;
  }

  void Expect(char c) {
    if (!Accept(c)) Bad(std::string("expected '") + c + "'");
  }

  JsonValue ParseValue() {
    SkipSpace();
    if (++values_ > kMaxValues) Bad("too many values");
    switch (Peek()) {
      case '{':
        return ParseObject();
      case '[':
        return ParseArray();
      case '"': {
        JsonValue value;
        value.kind = JsonValue::Kind::kString;
        value.text = ParseString();
        return value;
      }
      case 't':
        return ParseWord("true", JsonValue::Kind::kBool, true);
      case 'f':
        return ParseWord("false", JsonValue::Kind::kBool, false);
      case 'n':
        return ParseWord("null", JsonValue::Kind::kNull, false);
      default:
        return ParseNumber();
    }
  }

  JsonValue ParseWord(std::string_view word, JsonValue::Kind kind, bool boolean) {
    if (text_.substr(pos_, word.size()) != word) Bad("unknown word");
    pos_ += word.size();
    JsonValue value;
    value.kind = kind;
    value.boolean = boolean;
    return value;
  }

  void Enter() {
    ++pos_;
    if (++depth_ > kMaxDepth) Bad("nested too deeply");
  }

  JsonValue ParseArray() {
    Enter();
    JsonValue value;
    value.kind = JsonValue::Kind::kArray;
    if (!Accept(']')) {
      do {
        value.items.push_back(ParseValue());
      } while (Accept(','));
      Expect(']');
    }
    --depth_;
    return value;
  }

  JsonValue ParseObject() {
    Enter();
    JsonValue value;
    value.kind = JsonValue::Kind::kObject;
    if (!Accept('}')) {
      do {
        SkipSpace();
        value.keys.push_back(ParseString());
        Expect(':');
        value.items.push_back(ParseValue());
      } while (Accept(','));
      Expect('}');
    }
    RefuseDuplicates(value.keys);
    --depth_;
    return value;
  }

  // Readers differ in which of two equal keys they take, so neither is taken.
  void RefuseDuplicates(const std::vector<std::string>& keys) const {
    std::vector<std::string_view> sorted(keys.begin(), keys.end());
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      Bad("duplicate key in the object that ends");
    }
  }

  JsonValue ParseNumber() {
    const size_t start = pos_;
    if (Peek() == '-') ++pos_;
    const size_t first_digit = pos_;
    SkipDigits("expected a value");
    if (text_[first_digit] == '0' && pos_ > first_digit + 1) Bad("number with a leading zero");
    JsonValue value;
    value.kind = JsonValue::Kind::kInteger;
    if (Peek() == '.') {
      ++pos_;
      SkipDigits("expected a digit");
      value.kind = JsonValue::Kind::kReal;
    }
    if (Peek() == 'e' || Peek() == 'E') {
      ++pos_;
      if (Peek() == '+' || Peek() == '-') ++pos_;
      SkipDigits("expected a digit");
      value.kind = JsonValue::Kind::kReal;
    }
    if (value.is(JsonValue::Kind::kInteger) && !ToInteger(start, &value.integer)) {
      value.kind = JsonValue::Kind::kReal;
    }
    const std::string number(text_.substr(start, pos_ - start));
    value.real = std::strtod(number.c_str(), nullptr);
    return value;
  }

  void SkipDigits(const char* complaint) {
    if (!IsDigit(Peek())) Bad(complaint);
    while (IsDigit(Peek())) ++pos_;
  }

  // False if the digits in [start, pos_) do not fit 64 bits.
  bool ToInteger(size_t start, int64_t* out) const {
    const bool negative = text_[start] == '-';
    int64_t value = 0;
    for (size_t i = start + (negative ? 1 : 0); i < pos_; ++i) {
      const int64_t digit = text_[i] - '0';
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
        return false;
      }
    }
    *out = value;
    return true;
  }

  std::string ParseString() {
    if (Peek() != '"') Bad("expected a string");
    ++pos_;
    std::string out;
    for (;;) {
      if (pos_ >= text_.size()) Bad("unterminated string");
      const char c = text_[pos_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) Bad("control character in a string");
      if (c == '\\') {
        ParseEscape(&out);
      } else {
        out += c;
      }
    }
  }

  void ParseEscape(std::string* out) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt";
    static constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    const char c = Peek();
    ++pos_;
    if (c == 'u') return AppendUtf8(ParseCodePoint(), out);
    const size_t i = kFrom.find(c);
    if (i == std::string_view::npos) Bad("unknown escape");
    *out += kTo[i];
  }

  uint32_t ParseCodePoint() {
    const uint32_t high = ParseHex4();
    if (high < 0xd800 || high > 0xdfff) return high;
    if (high > 0xdbff || text_.substr(pos_, 2) != "\\u") Bad("unpaired surrogate");
    pos_ += 2;
    const uint32_t low = ParseHex4();
    if (low < 0xdc00 || low > 0xdfff) Bad("unpaired surrogate");
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  }

  uint32_t ParseHex4() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++pos_) {
      const char c = Peek();
      const char lower = static_cast<char>(c | 0x20);
      const bool letter = lower >= 'a' && lower <= 'f';
      if (!IsDigit(c) && !letter) Bad("expected a hexadecimal digit");
      value = value * 16 + static_cast<uint32_t>(letter ? lower - 'a' + 10 : c - '0');
    }
    return value;
  }

  std::string_view text_;
  const std::string& source_;
  ExitCode code_;
  size_t pos_ = 0;
  size_t values_ = 0;
  int depth_ = 0;
};

}  // namespace

const JsonValue* JsonValue::Find(std::string_view key) const {
  const auto it = std::find(keys.begin(), keys.end(), key);
  return it == keys.end() ? nullptr : &items[static_cast<size_t>(it - keys.begin())];
}

JsonValue ParseJson(std::string_view text, const std::string& source, ExitCode code) {
  return Parser(text, source, code).ParseDocument();
}

std::string JsonQuote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string NumberMember(const char* key, double value) {
  char text[64];
  std::snprintf(text, sizeof text, ",\"%s\":%.3f", key, value);
  return text;
}

}  // namespace splitc
