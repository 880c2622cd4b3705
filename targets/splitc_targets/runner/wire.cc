// SPDX-License-Identifier: Apache-2.0
//
// Headers and boundaries.

#include "wire.h"

#include <algorithm>
#include <cstring>

namespace splitc {
namespace {

template <typename T>
void Put(uint8_t* packet, size_t offset, T value) {
  std::memcpy(packet + offset, &value, sizeof value);
}

template <typename T>
T Get(const uint8_t* packet, size_t offset) {
  T value;
  std::memcpy(&value, packet + offset, sizeof value);
  return value;
}

// SplitMix64's output for element `i`.
uint64_t Mixed(uint64_t seed, uint32_t i) {
  uint64_t z = seed + (uint64_t{i} + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Units of a size that the compiler knows, wherever they lie.
template <size_t kWidth>
void Gather(const uint8_t* tensor, const uint32_t* order, size_t count, uint8_t* payload) {
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(payload + i * kWidth, tensor + order[i] * kWidth, kWidth);
  }
}

uint32_t WidthOf(const Boundary::Tensor& tensor) {
  return tensor.dtype->size * tensor.missing.unit;
}

uint64_t UnitsOf(const Boundary::Tensor& tensor) {
  return (tensor.bytes + WidthOf(tensor) - 1) / WidthOf(tensor);
}

}  // namespace

void WriteHeader(const Header& header, uint8_t* packet) {
  Put(packet, 0, kWireMagic);
  Put(packet, 2, kWireVersion);
  Put(packet, 3, header.kind);
  Put(packet, 4, header.session);
  Put(packet, 12, header.split);
  Put(packet, 20, header.frame);
  Put(packet, 24, header.route);
  Put(packet, 26, header.chunk);
  Put(packet, 28, header.chunks);
  Put(packet, 30, header.extra);
}

bool ReadHeader(const uint8_t* packet, size_t size, Header* header) {
  if (size < kHeaderBytes || Get<uint16_t>(packet, 0) != kWireMagic) return false;
  const uint8_t kind = packet[3];
  if (packet[2] != kWireVersion || kind < 1 || kind > static_cast<uint8_t>(kLastKind)) {
    return false;
  }
  header->kind = static_cast<PacketKind>(kind);
  header->session = Get<uint64_t>(packet, 4);
  header->split = Get<uint64_t>(packet, 12);
  header->frame = Get<uint32_t>(packet, 20);
  header->route = Get<uint16_t>(packet, 24);
  header->chunk = Get<uint16_t>(packet, 26);
  header->chunks = Get<uint16_t>(packet, 28);
  header->extra = Get<uint16_t>(packet, 30);
  return true;
}

// Keys are computed anew at each comparison: beside the order itself they would take twice
// its memory, on a device that sorts once a session.
std::vector<uint32_t> ElementOrder(uint32_t count, uint64_t seed) {
  std::vector<uint32_t> order(count);
  for (uint32_t i = 0; i < count; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [seed](uint32_t a, uint32_t b) {
    const uint64_t left = Mixed(seed, a);
    const uint64_t right = Mixed(seed, b);
    return left != right ? left < right : a < b;
  });
  return order;
}

uint64_t Boundary::ChunksOf(const Tensor& tensor, size_t payload_bytes) {
  const uint64_t units = payload_bytes / WidthOf(tensor);
  return units == 0 ? kMaxChunks + 1u : (UnitsOf(tensor) + units - 1) / units;
}

bool Boundary::Fits(const std::vector<Tensor>& tensors, size_t payload_bytes) {
  uint64_t chunks = 0;
  for (const Tensor& tensor : tensors) {
    const uint64_t more = ChunksOf(tensor, payload_bytes);
    if (more > kMaxChunks || (chunks += more) > kMaxChunks) return false;
  }
  return chunks > 0;
}

Boundary::Boundary(const std::vector<Tensor>& tensors, size_t payload_bytes) {
  for (const Tensor& tensor : tensors) {
    Piece piece{};
    piece.dtype = tensor.dtype;
    piece.missing = tensor.missing;
    piece.offset = bytes_;
    piece.bytes = tensor.bytes;
    piece.width = WidthOf(tensor);
    piece.count = static_cast<uint32_t>(UnitsOf(tensor));
    piece.first = chunks_;
    piece.chunks = static_cast<uint32_t>(ChunksOf(tensor, payload_bytes));
    piece.per_chunk = static_cast<uint32_t>(payload_bytes / piece.width);
    chunks_ += piece.chunks;
    bytes_ += uint64_t{piece.count} * piece.width;
    pieces_.push_back(std::move(piece));
  }
}

uint32_t Boundary::most_units() const {
  uint32_t most = 0;
  for (const Piece& piece : pieces_) most = std::max(most, piece.count);
  return most;
}

void Boundary::TakeOrder(const std::vector<uint32_t>& order) {
  for (Piece& piece : pieces_) {
    piece.order = order.data();
    piece.starts.clear();
    if (piece.count == order.size()) continue;
    uint32_t before = 0;  // units of it
    for (uint32_t at = 0; before < piece.count; ++at) {
      if (order[at] >= piece.count) continue;
      if (before % piece.per_chunk == 0) piece.starts.push_back(at);
      ++before;
    }
  }
}

Boundary::Place Boundary::PlaceOf(uint32_t chunk) const {
  size_t i = 0;
  while (chunk - pieces_[i].first >= pieces_[i].chunks) ++i;
  const Piece& piece = pieces_[i];
  const uint32_t number = chunk - piece.first;
  const uint32_t before = number * piece.per_chunk;
  const uint32_t start = piece.starts.empty() ? before : piece.starts[number];
  return {piece, piece.order + start, std::min(piece.per_chunk, piece.count - before)};
}

size_t Boundary::ChunkBytes(uint32_t chunk) const {
  const Place place = PlaceOf(chunk);
  return size_t{place.count} * place.piece.width;
}

size_t Boundary::Pack(const uint8_t* tensors, uint32_t chunk, uint8_t* payload) const {
  const Place place = PlaceOf(chunk);
  const uint8_t* tensor = tensors + place.piece.offset;
  const uint32_t width = place.piece.width;
  ForUnits(place, [=](const uint32_t* units, uint32_t count, uint32_t before) {
    uint8_t* to = payload + size_t{before} * width;
    switch (width) {
      case 1: return Gather<1>(tensor, units, count, to);
      case 2: return Gather<2>(tensor, units, count, to);
      case 4: return Gather<4>(tensor, units, count, to);
      case 8: return Gather<8>(tensor, units, count, to);
      default: break;
    }
    for (uint32_t i = 0; i < count; ++i) {
      std::memcpy(to + size_t{i} * width, tensor + uint64_t{units[i]} * width, width);
    }
  });
  return size_t{place.count} * width;
}

}  // namespace splitc
