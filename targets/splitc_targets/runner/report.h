// SPDX-License-Identifier: Apache-2.0
//
// What a server says of how a frame came to it and what its tail took (docs/wire.md). Pure.

#ifndef SPLITC_RUNNER_REPORT_H_
#define SPLITC_RUNNER_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace splitc {

struct Report {
  uint32_t chunks = 0;        // of values that the frame has
  uint32_t came = 0;          // those of them that came over the link
  uint32_t spread_us = 0;     // from the arrival of the frame's first packet to its last one's
  uint32_t spread_bytes = 0;  // on the link, of those behind the first
  uint32_t wait_us = 0;       // from when the frame was closed until its tail began
  uint32_t tail_us = 0;       // of the tail's run, all frames that were in it
};

inline constexpr size_t kReportBytes = 20;

// None for a payload of another size, or that says more came than the frame has.
inline std::optional<Report> ReadReport(const uint8_t* payload, size_t size, uint32_t chunks) {
  if (size != kReportBytes) return std::nullopt;
  Report report;
  report.chunks = chunks;
  std::memcpy(&report.spread_us, payload, 4);
  std::memcpy(&report.spread_bytes, payload + 4, 4);
  std::memcpy(&report.wait_us, payload + 8, 4);
  std::memcpy(&report.tail_us, payload + 12, 4);
  std::memcpy(&report.came, payload + 16, 2);
  if (report.came > chunks) return std::nullopt;
  return report;
}

}  // namespace splitc

#endif  // SPLITC_RUNNER_REPORT_H_
