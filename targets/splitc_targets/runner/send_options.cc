// SPDX-License-Identifier: Apache-2.0
//
// The flags of --send.

#include "send_options.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "error.h"
#include "file_util.h"
#include "text.h"
#include "wire.h"

namespace splitc {

const char kSendUsage[] =
    "\n"
    "  --send HOST:PORT   run a head, and send what it makes to `splitc serve`\n"
    "  --transport T      udp (default), resend, parity or tcp\n"
    "  --parity PERCENT   parity packets for each 100, with parity (default: 25)\n"
    "  --deadline TIME    when the server answers with what has come (default: 100ms)\n"
    "  --grace TIME       how long it waits for late packets (default: 5ms)\n"
    "  --mtu BYTES        largest packet of the link (default: 1500)\n"
    "  --bandwidth RATE   send no faster, 20Mbit say\n"
    "  --key FILE         the server's key (default: the file that SPLITC_KEY names)\n"
    "  --in-flight N      frames on their way at once, 1 to 64 (default: 2)\n"
    "  --rate FPS         frames a second at most\n"
    "  --policy P         which route each frame takes: adaptive (where there are several),\n"
    "                     'adaptive(within_s=0.05)', or the file of a plan\n"
    "  --within TIME      what a frame may take: then the most exact route that keeps to it\n"
    "  --silent-after TIME  when a frame without an answer is given up (default: 1s)\n"
    "  --when-silent W    then: error (default), last (the last answer) or whole\n"
    "  --whole DIR        the part that computes the whole network here\n";

namespace {

[[noreturn]] void BadValue(const std::string& option, const std::string& value,
                           const std::string& hint) {
  Fail(ExitCode::kUsage, "usage", option + " is \"" + value + "\": " + hint);
}

[[noreturn]] void NoUnit(const std::string& option, const std::string& number,
                         const std::string& one, const std::string& other) {
  BadValue(option, number,
           "it has no unit; write " + number + one + " or " + number + other + ", whichever is meant");
}

// A number at the start of the text; what follows it is handed back.
bool ParseReal(const std::string& text, double* value, std::string* unit) {
  const bool digit = !text.empty() && ((text[0] >= '0' && text[0] <= '9') || text[0] == '.');
  if (!digit || text.size() > 40 || text.find_first_of("xX") != std::string::npos) return false;
  char* end = nullptr;
  *value = std::strtod(text.c_str(), &end);
  *unit = end;
  return end != text.c_str();
}

}  // namespace

double ParseTime(const std::string& option, const std::string& text) {
  double value = 0;
  std::string unit;
  bool good = ParseReal(text, &value, &unit);
  if (unit == "us") {
    value *= 1e-6;
  } else if (unit == "ms") {
    value *= 1e-3;
  } else {
    if (good && unit.empty() && value > 0) NoUnit(option, text, "ms", "s");
    good = good && (unit.empty() || unit == "s");
  }
  if (!good || !(value >= 0) || value > kLongestSeconds) {
    BadValue(option, text, "write a time like 5ms or 0.2s, an hour at most");
  }
  return value;
}

namespace {

// As splitc.link.parse_bandwidth.
double ParseBandwidth(const std::string& option, const std::string& text) {
  double value = 0;
  std::string unit;
  bool good = ParseReal(text, &value, &unit);
  while (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
  if (good && unit.empty() && value > 0) NoUnit(option, text, "Mbit", "kbit");
  const std::string_view factors = "kmg";
  const size_t factor = unit.empty() ? std::string_view::npos
                                     : factors.find(static_cast<char>(unit[0] | 0x20));
  if (factor != std::string_view::npos) {
    value *= factor == 0 ? 1e3 : factor == 1 ? 1e6 : 1e9;
    unit.erase(0, 1);
  }
  if (unit == "B/s" || unit == "Bps") {
    value *= 8;
  } else {
    for (char& c : unit) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    good = good && (unit.empty() || unit == "bit" || unit == "bit/s" || unit == "bps" ||
                    unit == "b/s");
  }
  if (!good || !(value >= 1) || value > 1e15) {
    BadValue(option, text, "write a bandwidth like 20Mbit or 250kbit");
  }
  return value;
}

double ParseRate(const std::string& option, const std::string& text) {
  double value = 0;
  std::string rest;
  if (!ParseReal(text, &value, &rest) || !rest.empty() || !(value > 0) || value > 1e6) {
    BadValue(option, text, "write frames a second, above 0 and at most 1000000");
  }
  return value;
}

uint32_t ParseCount(const std::string& option, std::string text, uint32_t least, uint32_t most) {
  uint32_t value = 0;
  bool good = !text.empty() && text.size() <= 6;
  for (const char c : text) {
    good = good && c >= '0' && c <= '9';
    if (good) value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  if (!good || value < least || value > most) {
    BadValue(option, text, "write a whole number from " + Decimal(least) + " to " + Decimal(most));
  }
  return value;
}

// The place of a word among several.
uint8_t ParseWord(const std::string& option, const std::string& text,
                  std::initializer_list<const char*> words) {
  uint8_t place = 0;
  std::string all;
  for (const char* word : words) {
    if (text == word) return place;
    all += (place++ == 0 ? "" : ", ") + std::string(word);
  }
  BadValue(option, text, "it is one of " + all);
}

uint32_t ParsePercent(const std::string& option, const std::string& text) {
  const bool sign = text.back() == '%';
  return ParseCount(option, text.substr(0, text.size() - sign), 1, 100);
}

using Text = const std::string&;

struct Flag {
  const char* name;
  void (*take)(Text name, Text value, SendOptions* to);
};

constexpr Flag kFlags[] = {
    {"--send", [](Text, Text value, SendOptions* to) { to->to = value; }},
    {"--transport",
     [](Text name, Text value, SendOptions* to) {
       to->transport =
           static_cast<Transport>(ParseWord(name, value, {"udp", "resend", "parity", "tcp"}));
     }},
    {"--parity", [](Text name, Text value, SendOptions* to) {
       to->parity_percent = ParsePercent(name, value);
     }},
    {"--deadline",
     [](Text name, Text value, SendOptions* to) { to->deadline_s = ParseTime(name, value); }},
    {"--grace",
     [](Text name, Text value, SendOptions* to) { to->grace_s = ParseTime(name, value); }},
    {"--silent-after",
     [](Text name, Text value, SendOptions* to) { to->silent_s = ParseTime(name, value); }},
    {"--mtu", [](Text name, Text value, SendOptions* to) {
       to->mtu = ParseCount(name, value, kPacketOverhead + 1, 65535);
     }},
    {"--bandwidth", [](Text name, Text value, SendOptions* to) {
       to->bandwidth_bps = ParseBandwidth(name, value);
     }},
    {"--rate",
     [](Text name, Text value, SendOptions* to) { to->frames_per_s = ParseRate(name, value); }},
    {"--in-flight", [](Text name, Text value, SendOptions* to) {
       to->in_flight = ParseCount(name, value, 1, 64);
     }},
    {"--when-silent",
     [](Text name, Text value, SendOptions* to) {
       to->when_silent =
           static_cast<WhenSilent>(ParseWord(name, value, {"error", "last", "whole"}));
     }},
    {"--policy", [](Text, Text value, SendOptions* to) { to->policy = value; }},
    {"--within", [](Text name, Text value, SendOptions* to) {
       to->within_s = ParseTime(name, value);
       if (*to->within_s <= 0) BadValue(name, value, "it is above 0");
     }},
    {"--whole", [](Text, Text value, SendOptions* to) { to->whole = value; }},
    {"--key", [](Text, Text value, SendOptions* to) { to->key = value; }},
};

}  // namespace

bool IsSendOption(const std::string& name) {
  for (const Flag& flag : kFlags) {
    if (name == flag.name) return true;
  }
  return false;
}

void TakeSendOption(const std::string& name, const std::string& value, SendOptions* options) {
  for (const Flag& flag : kFlags) {
    if (name == flag.name) flag.take(name, value, options);
  }
}

void CheckSendOptions(const SendOptions& options) {
  if (options.to.empty()) return;
  const bool whole = options.when_silent == WhenSilent::kWhole;
  if (whole != !options.whole.empty()) {
    Fail(ExitCode::kUsage, "usage", "--when-silent whole and --whole DIR go together");
  }
}

std::optional<Key> ReadKey(const std::string& path) {
  if (path.empty()) return std::nullopt;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char text[67];
  const ssize_t size = file.get() < 0 ? -1 : read(file.get(), text, sizeof text);
  if (size < 0) Fail(ExitCode::kUsage, path, "cannot read the key: " + LastSystemError());
  bool good = size == 64 || (size == 65 && text[64] == '\n');
  Key key{};
  for (size_t i = 0; good && i < 64; ++i) {
    const size_t nibble = std::string_view("0123456789abcdef").find(text[i]);
    good = nibble != std::string_view::npos;
    if (good) key[i / 2] = static_cast<uint8_t>(key[i / 2] * 16u + nibble);
  }
  if (!good) Fail(ExitCode::kUsage, path, "is not a key: 64 hexadecimal digits and a line feed");
  return key;
}

}  // namespace splitc
