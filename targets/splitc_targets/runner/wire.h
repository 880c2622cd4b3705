// SPDX-License-Identifier: Apache-2.0
//
// Packets: the header, and how a boundary lies in chunks (docs/wire.md). Pure: no socket, no
// clock. What splitc.wire does in Python, to the byte; both sides are little-endian.

#ifndef SPLITC_RUNNER_WIRE_H_
#define SPLITC_RUNNER_WIRE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "dtype.h"

namespace splitc {

inline constexpr uint16_t kWireMagic = 0x4353;
inline constexpr uint8_t kWireVersion = 1;
inline constexpr size_t kHeaderBytes = 32;
inline constexpr size_t kTagBytes = 16;
// What of an MTU is no payload: IPv6 and UDP, the header, the tag; with a key or without.
inline constexpr size_t kPacketOverhead = 40 + 8 + kHeaderBytes + kTagBytes;
// Of IPv4 and UDP: they take their share of the bandwidth.
inline constexpr size_t kDatagramOverhead = 28;
inline constexpr uint32_t kMaxChunks = 65535;

enum class PacketKind : uint8_t {
  kHello = 1,
  kChallenge,
  kWelcome,
  kRefuse,
  kData,
  kParity,
  kNack,
  kAnswer,
  kFail,
  kProbe,
  kEcho,
  kBye,
  kReport,
};

inline constexpr PacketKind kLastKind = PacketKind::kReport;

struct Header {
  PacketKind kind = PacketKind::kBye;
  uint64_t session = 0;
  uint64_t split = 0;
  uint32_t frame = 0;
  uint16_t route = 0;
  uint16_t chunk = 0;
  uint16_t chunks = 0;
  uint16_t extra = 0;
};

void WriteHeader(const Header& header, uint8_t* packet);
// False for what is not of ours, or of another version.
bool ReadHeader(const uint8_t* packet, size_t size, Header* header);

// The index of the element at each place: see splitc.link.packets.element_order. What an element
// is sorted by is no matter of how many there are: the order of fewer is that of more, without
// those that they have not.
std::vector<uint32_t> ElementOrder(uint32_t count, uint64_t seed);

// What stands for elements that did not come, and what those that came are multiplied by.
struct Missing {
  enum class Scale { kRealised, kRate, kNone };
  std::string fill;  // bytes, repeated over the tensor; empty for zeros
  Scale scale = Scale::kNone;
  uint32_t unit = 1;  // elements of the tensor that travel together
};

// Tensors that cross, each by itself in chunks of whole units in the order of the seed. Where
// they are handed over they lie one after another, each filled up to whole units.
class Boundary {
 public:
  struct Tensor {
    const DType* dtype;
    uint64_t bytes;
    Missing missing;
  };

  // How many chunks one tensor takes; over kMaxChunks where no chunk holds a unit.
  static uint64_t ChunksOf(const Tensor& tensor, size_t payload_bytes);

  // Whether frames can hold the tensors: no unit larger than a chunk, not too many chunks.
  static bool Fits(const std::vector<Tensor>& tensors, size_t payload_bytes);

  Boundary(const std::vector<Tensor>& tensors, size_t payload_bytes);

  // Units of the tensor that has most of them.
  uint32_t most_units() const;
  // From now on units go in that order, of so many units at least, which must outlive it. Before,
  // nothing may be packed.
  void TakeOrder(const std::vector<uint32_t>& order);

  uint32_t chunks() const { return chunks_; }
  // Of all tensors as they are handed over, and where each begins there.
  uint64_t bytes() const { return bytes_; }
  uint64_t Offset(size_t tensor) const { return pieces_[tensor].offset; }
  // The payload's size of one chunk.
  size_t ChunkBytes(uint32_t chunk) const;

  // Writes one chunk's payload; returns its size.
  size_t Pack(const uint8_t* tensors, uint32_t chunk, uint8_t* payload) const;

  // Puts tensors together from the rows of chunks that came, `stride` bytes apart. Returns
  // the share of elements that came.
  double Unpack(const uint8_t* rows, size_t stride, const uint8_t* came, double loss_rate,
                uint8_t* tensors) const;

 private:
  struct Piece {
    const DType* dtype;
    Missing missing;
    uint64_t offset;     // in the tensors' bytes
    uint64_t bytes;      // without what fills it up
    uint32_t width;      // bytes of a unit
    uint32_t count;      // units
    uint32_t first;      // chunk
    uint32_t chunks;
    uint32_t per_chunk;  // units of a whole chunk
    const uint32_t* order;
    // Where in the order each chunk's units begin; none where it is the order of just these.
    std::vector<uint32_t> starts;
  };

  // One chunk's place: its tensor, where in the order its units begin, and how many it holds.
  struct Place {
    const Piece& piece;
    const uint32_t* order;
    uint32_t count;
  };

  Place PlaceOf(uint32_t chunk) const;
  // Calls `take(units, count, before)` with the chunk's units in their order, some at a time.
  template <typename Take>
  static void ForUnits(const Place& place, Take take);

  std::vector<Piece> pieces_;
  uint32_t chunks_ = 0;
  uint64_t bytes_ = 0;
};

template <typename Take>
void Boundary::ForUnits(const Place& place, Take take) {
  if (place.piece.starts.empty()) return take(place.order, place.count, uint32_t{0});
  const uint32_t units = place.piece.count;
  constexpr uint32_t kMost = 256;
  uint32_t some[kMost];
  const uint32_t* from = place.order;
  for (uint32_t before = 0; before < place.count;) {
    const uint32_t wanted = std::min(kMost, place.count - before);
    for (uint32_t found = 0; found < wanted; ++from) {
      some[found] = *from;
      found += *from < units ? 1 : 0;  // without a branch, which nothing could foresee
    }
    take(some, wanted, before);
    before += wanted;
  }
}

}  // namespace splitc

#endif  // SPLITC_RUNNER_WIRE_H_
