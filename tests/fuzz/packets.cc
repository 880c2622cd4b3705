// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer on a device's session: any packets at any times, those that an attacker can make
// who knows what goes over the wire among them.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "answer.cc"
#include "dtype.cc"
#include "framing.h"
#include "handshake.cc"
#include "hmac.cc"
#include "parity.cc"
#include "parity_writer.cc"
#include "seal.cc"
#include "session.cc"
#include "session_handle.cc"
#include "sha256.cc"
#include "sha256_hw.cc"
#include "train.cc"
#include "utf8.cc"
#include "wire.cc"

// The cipher is zig's: in its place one whose tags are sums, so that some are right.
extern "C" void splitc_seal(uint8_t* data, size_t size, uint8_t* tag, const uint8_t* known,
                            size_t known_size, const uint8_t*, const uint8_t*) {
  std::memset(tag, 0, splitc::kTagBytes);
  for (size_t i = 0; i < known_size; ++i) tag[i % 16] = static_cast<uint8_t>(tag[i % 16] + known[i]);
  for (size_t i = 0; i < size; ++i) tag[i % 16] = static_cast<uint8_t>(tag[i % 16] + data[i]);
}

extern "C" int splitc_open(uint8_t* data, size_t size, const uint8_t* tag, const uint8_t* known,
                           size_t known_size, const uint8_t* nonce, const uint8_t* key) {
  uint8_t wanted[splitc::kTagBytes];
  splitc_seal(data, size, wanted, known, known_size, nonce, key);
  return std::memcmp(tag, wanted, sizeof wanted) == 0 ? 1 : 0;
}

extern "C" void splitc_seal_avx2(uint8_t*, size_t, uint8_t*, const uint8_t*, size_t,
                                 const uint8_t*, const uint8_t*) {}
extern "C" int splitc_open_avx2(uint8_t*, size_t, const uint8_t*, const uint8_t*, size_t,
                                const uint8_t*, const uint8_t*) {
  return 0;
}

namespace splitc {
bool IsX86V3() { return false; }
}  // namespace splitc

namespace {

using namespace splitc;

constexpr uint64_t kSplit = 0x1122334455667788;
constexpr size_t kRoom = 4096;

void Check(bool holds) {
  if (!holds) std::abort();
}

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  size_t Take(uint8_t* to, size_t most) {
    const size_t count = std::min(most, size_);
    std::memcpy(to, data_, count);
    data_ += count;
    size_ -= count;
    return count;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

SessionConfig ConfigOf(Bytes* input) {
  const uint8_t choice = input->Byte();
  SessionConfig config;
  config.split = kSplit;
  Missing pairs;
  pairs.unit = 3;
  const std::vector<Boundary::Tensor> two = {{FindDType("float32"), 1200, {}},
                                             {FindDType("uint8"), 100, pairs}};
  config.routes = {{3, two, choice % 7 * 50 + 1u},
                   {0, {{FindDType("uint8"), 300, {}}}, 40},
                   {4, {{FindDType("float32"), 4, {}}}, choice % 3 * 50 + 1u}};
  config.wants_reports = choice % 3 == 0;
  config.payload_bytes = 64;
  config.transport = static_cast<Transport>(choice / 7 % 4);
  if (config.transport == Transport::kParity) config.parity_percent = choice % 3 * 49 + 1;
  config.deadline_ns = 100 * kMillisecond;
  config.grace_ns = 5 * kMillisecond;
  config.silent_ns = kSecond;
  config.bandwidth_bps = choice % 5 == 0 ? 1e6 : 0;
  config.in_flight = 1 + choice % 4;
  if (choice % 2 == 1) config.key = Key{};
  config.random = [](void* bytes, size_t count) { std::memset(bytes, 7, count); };
  return config;
}

// Makes of bytes what passes the first checks, as far as the byte before them asks.
size_t Patch(uint8_t how, bool keyed, uint64_t session, uint8_t* packet, size_t size) {
  if (size < kHeaderBytes) return size;
  Header header;
  header.kind = static_cast<PacketKind>(1 + how % 13);
  header.session = session;
  header.split = kSplit;
  header.route = how % 3 == 0 ? 0 : how % 7 == 0 ? 4 : 3;
  std::memcpy(&header.frame, packet + 20, 1);
  std::memcpy(&header.chunk, packet + 26, 1);
  std::memcpy(&header.chunks, packet + 28, 1);
  WriteHeader(header, packet);
  const bool greets = header.kind <= PacketKind::kRefuse;
  const size_t nonce = kHeaderBytes + (header.kind == PacketKind::kRefuse ? 1 : 0);
  if (greets && size >= nonce + 16) std::memset(packet + nonce, 7, 16);
  if (header.kind == PacketKind::kWelcome && size >= kHeaderBytes + 76) {
    size = kHeaderBytes + 76;
    header.session = session + 1;
    WriteHeader(header, packet);
    const Key key = DeriveKey(Key{}, nullptr, 0, "splitc wire 1 welcome");
    const Sha256Digest mac = Hmac(key.data(), key.size(), packet, size - 32);
    std::memset(packet + size - 32, 0, 32);
    if (keyed) std::memcpy(packet + size - 32, mac.data(), 32);
  }
  return greets || !keyed ? size : SealPacket(Key{}, header, packet, size);
}

void SendWhatIsDue(Session* session, int64_t now, uint64_t* id) {
  uint8_t packet[kRoom];
  Check(session->packet_bytes() <= sizeof packet);
  for (int i = 0; i < 2000; ++i) {
    const size_t size = session->Produce(now, packet);
    if (size == 0) return;
    Check(size <= session->packet_bytes());
    Header header;
    Check(ReadHeader(packet, size, &header) && header.split == kSplit);
    *id = header.session;
  }
}

void ReadStream(const uint8_t* data, size_t size) {
  StreamReader reader(100);
  uint8_t packet[100];
  size_t packet_bytes = 0;
  while (size > 0) {
    const size_t count = std::min(size, reader.room());
    Check(count > 0);
    std::memcpy(reader.Room(), data, count);
    reader.Came(count);
    data += count;
    size -= count;
    StreamReader::Result result;
    while ((result = reader.Next(packet, &packet_bytes)) == StreamReader::Result::kPacket) {
      Check(packet_bytes <= sizeof packet);
    }
    if (result == StreamReader::Result::kBroken) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ReadStream(data, size);
  Bytes input(data, size);
  const SessionConfig config = ConfigOf(&input);
  Session session(config);
  int64_t now = kSecond;
  uint64_t id = 0;
  session.Begin(now);
  while (!input.empty()) {
    const uint8_t step = input.Byte();
    now += step % 16 * step % 16 * kMillisecond;
    if (step >= 192) {
      if (Frame* frame = session.Take(step % 3)) session.Send(frame, now);
    }
    if (step % 5 == 0) session.Probe(now);
    SendWhatIsDue(&session, now, &id);
    const uint8_t how = input.Byte();
    uint8_t packet[kRoom];
    size_t taken = input.Take(packet, input.Byte() + 16u);
    if (how < 230) taken = Patch(how, config.key.has_value(), id, packet, taken);
    session.Handle(packet, taken, now);
    session.Expire(now);
    Check(session.NextWake() >= 0);
    if (const auto bps = session.TakeBandwidth()) Check(*bps > 0);
    Frame* oldest = session.Oldest();
    if (oldest != nullptr && oldest->state != Frame::State::kOnItsWay) session.Release(oldest);
  }
  const Counters& c = session.counters();
  Check(c.answered + c.silent + c.failed <= c.frames);
  return 0;
}
