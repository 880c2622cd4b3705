// SPDX-License-Identifier: Apache-2.0
//
// The runner's wire, to be asked from a test: reads requests from its standard input, each a
// line of words, the number of bytes that follow as 32 bits, and these; answers with a number
// of bytes and these. The test is trusted.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "answer.cc"
#include "cpu.cc"
#include "dtype.cc"
#include "error.cc"
#include "file_util.cc"
#include "gauge.cc"
#include "half.h"
#include "handshake.cc"
#include "hmac.cc"
#include "json.cc"
#include "manifest.cc"
#include "memory.cc"
#include "parity.cc"
#include "parity_writer.cc"
#include "policy.cc"
#include "reassemble.cc"
#include "seal.cc"
#include "session.cc"
#include "session_handle.cc"
#include "sha256.cc"
#include "sha256_hw.cc"
#include "support.cc"
#include "text.h"
#include "timings.h"
#include "train.cc"
#include "utf8.cc"
#include "wire.cc"
#include "workspace.cc"
#include "lossy.h"

namespace {

using namespace splitc;
using Bytes = std::vector<uint8_t>;
using Words = std::vector<std::string>;

template <typename T>
void Append(const T& value, Bytes* to) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  to->insert(to->end(), bytes, bytes + sizeof value);
}

uint64_t Number(const std::string& word) { return std::strtoull(word.c_str(), nullptr, 10); }

template <typename T>
T Taken(const Bytes& bytes, size_t at) {
  T value;
  std::memcpy(&value, &bytes[at], sizeof value);
  return value;
}

Words Split(const std::string& text, char by) {
  Words words{""};
  for (const char c : text) {
    if (c == by) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// DTYPE:BYTES:UNIT:SCALE:FILL,...
std::vector<Boundary::Tensor> Tensors(const std::string& text) {
  std::vector<Boundary::Tensor> tensors;
  for (const std::string& one : Split(text, ',')) {
    const Words words = Split(one, ':');
    Missing missing;
    missing.unit = static_cast<uint32_t>(Number(words[2]));
    missing.scale = words[3] == "rate"       ? Missing::Scale::kRate
                    : words[3] == "realised" ? Missing::Scale::kRealised
                                             : Missing::Scale::kNone;
    for (size_t i = 0; i + 1 < words[4].size(); i += 2) {
      missing.fill +=
          static_cast<char>(std::strtoul(words[4].substr(i, 2).c_str(), nullptr, 16));
    }
    tensors.push_back({FindDType(words[0]), Number(words[1]), missing});
  }
  return tensors;
}

// The tensors as they are handed over, from one that has nothing between them.
Bytes Padded(const Boundary& boundary, const std::vector<Boundary::Tensor>& tensors,
             const Bytes& data) {
  Bytes padded(boundary.bytes());
  size_t at = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::memcpy(&padded[boundary.Offset(i)], &data[at], tensors[i].bytes);
    at += tensors[i].bytes;
  }
  return padded;
}

// pack TENSORS PAYLOAD SEED SESSION SPLIT FRAME ROUTE EXTRA PARITY
Bytes Pack(const Words& words, const Bytes& data) {
  const auto tensors = Tensors(words[1]);
  const size_t payload_bytes = Number(words[2]);
  if (!Boundary::Fits(tensors, payload_bytes)) return {};
  Boundary boundary(tensors, payload_bytes);
  // As where another route has more units.
  const auto order = ElementOrder(2 * boundary.most_units() + 1, Number(words[3]));
  boundary.TakeOrder(order);
  const Bytes padded = Padded(boundary, tensors, data);
  Header header;
  header.kind = PacketKind::kData;
  header.session = Number(words[4]);
  header.split = Number(words[5]);
  header.frame = static_cast<uint32_t>(Number(words[6]));
  header.route = static_cast<uint16_t>(Number(words[7]));
  header.extra = static_cast<uint16_t>(Number(words[8]));
  header.chunks = static_cast<uint16_t>(boundary.chunks());
  Bytes packets;
  Bytes packet(kHeaderBytes + payload_bytes);
  const auto add = [&](uint32_t chunk, size_t size) {
    header.chunk = static_cast<uint16_t>(chunk);
    WriteHeader(header, packet.data());
    Append(static_cast<uint32_t>(kHeaderBytes + size), &packets);
    packets.insert(packets.end(), packet.begin(),
                   packet.begin() + static_cast<std::ptrdiff_t>(kHeaderBytes + size));
  };
  for (uint32_t chunk = 0; chunk < boundary.chunks(); ++chunk) {
    const size_t size = boundary.Pack(padded.data(), chunk, &packet[kHeaderBytes]);
    if (size != boundary.ChunkBytes(chunk)) std::abort();
    add(chunk, size);
  }
  const auto percent = static_cast<uint32_t>(Number(words[9]));
  ParityWriter writer(boundary.chunks(), percent, payload_bytes);
  header.kind = PacketKind::kParity;
  header.extra = static_cast<uint16_t>(percent);
  for (uint32_t block = 0; block < writer.chunks(); ++block) {
    writer.Write(boundary, padded.data(), 0, block, &packet[kHeaderBytes]);
    add(block, payload_bytes);
  }
  return packets;
}

// unpack TENSORS PAYLOAD SEED; the loss rate, a byte a chunk that came, and the rows.
Bytes Unpack(const Words& words, const Bytes& data) {
  const auto tensors = Tensors(words[1]);
  const size_t payload_bytes = Number(words[2]);
  Boundary boundary(tensors, payload_bytes);
  const auto order = ElementOrder(boundary.most_units(), Number(words[3]));
  boundary.TakeOrder(order);
  const double loss_rate = Taken<double>(data, 0);
  Bytes padded(boundary.bytes());
  const uint8_t* came = &data[sizeof loss_rate];
  const double share = boundary.Unpack(came + boundary.chunks(), payload_bytes, came, loss_rate,
                                       padded.data());
  Bytes result;
  Append(share, &result);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint8_t* tensor = &padded[boundary.Offset(i)];
    result.insert(result.end(), tensor, tensor + tensors[i].bytes);
  }
  return result;
}

Bytes Order(const Words& words, const Bytes&) {
  Bytes result;
  for (const uint32_t i : ElementOrder(static_cast<uint32_t>(Number(words[1])), Number(words[2]))) {
    Append(i, &result);
  }
  return result;
}

// parity TENSORS PAYLOAD SEED PERCENT
Bytes Parity(const Words& words, const Bytes& data) {
  const auto tensors = Tensors(words[1]);
  const size_t payload_bytes = Number(words[2]);
  Boundary boundary(tensors, payload_bytes);
  const auto order = ElementOrder(boundary.most_units(), Number(words[3]));
  boundary.TakeOrder(order);
  const Bytes padded = Padded(boundary, tensors, data);
  ParityWriter writer(boundary.chunks(), static_cast<uint32_t>(Number(words[4])), payload_bytes);
  Bytes result(writer.chunks() * payload_bytes);
  for (uint32_t block = 0; block < writer.chunks(); ++block) {
    writer.Write(boundary, padded.data(), 0, block, &result[block * payload_bytes]);
  }
  return result;
}

// seal: key, packet. open: the same; nothing where it is not right.
Bytes Seal(const Words& words, const Bytes& data) {
  const Key key = Taken<Key>(data, 0);
  Bytes packet(data.begin() + sizeof key, data.end());
  const size_t size = packet.size();
  packet.resize(size + kTagBytes);
  Header header;
  if (!ReadHeader(packet.data(), size, &header)) return {};
  packet.resize(words[0] == "seal" ? SealPacket(key, header, packet.data(), size)
                                   : OpenPacket(key, header, packet.data(), size));
  return packet;
}

// aead or wide: nonce, key, size of what is known, that, and the rest; by the cipher for any
// processor, or by the fastest one here.
Bytes Aead(const Words& words, const Bytes& data) {
  const uint32_t known = Taken<uint32_t>(data, 44);
  Bytes text(data.begin() + 48 + known, data.end());
  const size_t size = text.size();
  text.resize(size + kTagBytes);
  SealFunction* const cipher = words[0] == "wide" ? FastestCipher().seal : splitc_seal;
  cipher(text.data(), size, &text[size], &data[48], known, &data[0], &data[12]);
  return text;
}

// hmac KEYBYTES; key, text.
Bytes HmacOf(const Words& words, const Bytes& data) {
  const size_t key = Number(words[1]);
  Bytes result;
  Append(Hmac(data.data(), key, data.data() + key, data.size() - key), &result);
  return result;
}

// keys: key, client's nonce, server's nonce.
Bytes Keys(const Words&, const Bytes& data) {
  const SessionKeys keys = DeriveSessionKeys(Taken<Key>(data, 0), Taken<Nonce>(data, 32),
                                             Taken<Nonce>(data, 48));
  Bytes result;
  Append(keys.to_server, &result);
  Append(keys.to_device, &result);
  return result;
}

// hello PAYLOAD TRANSPORT PARITY DEADLINE_US GRACE_US SPLIT FLAGS; nonce, cookie, and the
// key if any.
Bytes WriteHelloOf(const Words& words, const Bytes& data) {
  Hello hello;
  hello.nonce = Taken<Nonce>(data, 0);
  hello.cookie = Taken<std::array<uint8_t, 32>>(data, 16);
  hello.payload_bytes = static_cast<uint16_t>(Number(words[1]));
  hello.transport = static_cast<Transport>(Number(words[2]));
  hello.parity_percent = static_cast<uint8_t>(Number(words[3]));
  hello.deadline_us = static_cast<uint32_t>(Number(words[4]));
  hello.grace_us = static_cast<uint32_t>(Number(words[5]));
  hello.flags = static_cast<uint32_t>(Number(words[7]));
  std::optional<Key> key;
  if (data.size() > 48) key = Taken<Key>(data, 48);
  Bytes result;
  Append(WriteHello(hello, Number(words[6]), key), &result);
  return result;
}

// greeting: nonce, whether there is a key, the key, a packet. What is read of it, as text.
Bytes Greeting(const Words&, const Bytes& data) {
  const Nonce nonce = Taken<Nonce>(data, 0);
  std::optional<Key> key;
  if (data[16] != 0) key = Taken<Key>(data, 17);
  const uint8_t* packet = data.data() + 49;
  const size_t size = data.size() - 49;
  std::string text = "nothing";
  Header header;
  if (!ReadHeader(packet, size, &header)) {
    text = "foreign";
  } else if (header.kind == PacketKind::kChallenge) {
    if (ReadChallenge(packet, size, nonce)) text = "challenge";
  } else if (header.kind == PacketKind::kRefuse) {
    if (const auto refuse = ReadRefuse(packet, size)) {
      text = "refuse " + Decimal(static_cast<int>(refuse->code)) + " " + refuse->text;
    }
  } else if (header.kind == PacketKind::kWelcome) {
    if (const auto welcome = ReadWelcome(packet, size, nonce, key)) {
      text = welcome->authentic ? "welcome " : "forged ";
      text += Decimal(welcome->welcome.session) + " " +
              Decimal(welcome->welcome.order_seed) + " " +
              Decimal(welcome->welcome.frames_in_flight);
    }
  }
  return Bytes(text.begin(), text.end());
}

// halves: 65536 doubles of all halves; then of doubles, the nearest halves.
Bytes Halves(const Words&, const Bytes& data) {
  Bytes result;
  for (uint32_t half = 0; half < 65536; ++half) {
    Append(HalfAsDouble(static_cast<uint16_t>(half)), &result);
  }
  for (size_t at = 0; at < data.size(); at += 8) {
    Append(RoundToHalf(Taken<double>(data, at)), &result);
  }
  return result;
}

// lossy FRAMES LOSS_PERCENT SEED: how a session fares over a link that loses.
Bytes Lossy(const Words& words, const Bytes&) {
  LossyLink link(Number(words[2]), Number(words[3]));
  return link.Run(Number(words[1]));
}

#include "probe_routes.h"

struct Command {
  const char* name;
  Bytes (*answer)(const Words& words, const Bytes& data);
};

constexpr Command kCommands[] = {
    {"pack", Pack},   {"unpack", Unpack}, {"order", Order},        {"parity", Parity},
    {"seal", Seal},   {"open", Seal},     {"aead", Aead},          {"wide", Aead},
    {"hmac", HmacOf},
    {"keys", Keys},   {"hello", WriteHelloOf}, {"greeting", Greeting}, {"halves", Halves},
    {"lossy", Lossy}, {"report", ReportOf}, {"train", TrainOf}, {"policy", PolicyOf},
    {"layout", LayoutOf},
};

bool Read(void* to, size_t size) { return std::fread(to, 1, size, stdin) == size; }

bool Serve() {
  std::string line;
  for (int c; (c = std::getchar()) != '\n'; line += static_cast<char>(c)) {
    if (c == EOF) return false;
  }
  uint32_t size;
  if (!Read(&size, sizeof size)) return false;
  Bytes data(size);
  if (!Read(data.data(), size)) return false;
  const Words words = Split(line, ' ');
  for (const Command& command : kCommands) {
    if (words[0] != command.name) continue;
    const Bytes answer = command.answer(words, data);
    size = static_cast<uint32_t>(answer.size());
    return std::fwrite(&size, sizeof size, 1, stdout) == 1 &&
           std::fwrite(answer.data(), 1, size, stdout) == size && std::fflush(stdout) == 0;
  }
  return false;
}

}  // namespace

int main() {
  while (Serve()) continue;
}
