// SPDX-License-Identifier: Apache-2.0
//
// Numbers as text. (std::to_string is not in the headers but in the library.)

#ifndef SPLITC_RUNNER_TEXT_H_
#define SPLITC_RUNNER_TEXT_H_

#include <charconv>
#include <string>

namespace splitc {

// A whole number in decimal.
template <typename Integer>
std::string Decimal(Integer value) {
  char text[24];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

}  // namespace splitc

#endif  // SPLITC_RUNNER_TEXT_H_
