// SPDX-License-Identifier: Apache-2.0
//
// UTF-8: checking, writing one code point, and making any bytes fit to print
// on a single line.

#ifndef SPLITC_RUNNER_UTF8_H_
#define SPLITC_RUNNER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace splitc {

bool IsValidUtf8(std::string_view text);

// `code` must not be a surrogate, nor above 0x10ffff.
void AppendUtf8(uint32_t code, std::string* out);

// At most `limit` bytes of valid UTF-8 without control characters; runs of
// white space become one space.
std::string OneLine(std::string_view text, size_t limit);

}  // namespace splitc

#endif  // SPLITC_RUNNER_UTF8_H_
