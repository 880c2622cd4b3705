// SPDX-License-Identifier: Apache-2.0
//
// A socket to the server that carries packets: UDP, or TCP with a length before each. Never
// blocks.

#ifndef SPLITC_RUNNER_CARRIER_H_
#define SPLITC_RUNNER_CARRIER_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "file_util.h"
#include "framing.h"

namespace splitc {

struct SocketAddress {
  sockaddr_storage address{};
  socklen_t bytes = 0;
};

// The addresses of "HOST:PORT" or "[HOST]:PORT". Fails: kUsage for the text, kNetwork for a
// name that nobody knows.
std::vector<SocketAddress> FindAddresses(const std::string& text, bool tcp);

// Packets, many to a call.
class Batch {
 public:
  static constexpr size_t kMost = 64;

  explicit Batch(size_t packet_bytes);

  size_t packet_bytes() const { return packet_bytes_; }
  uint8_t* Packet(size_t i) { return Framed(i) + kLengthBytes; }
  bool empty() const { return first == count; }

  size_t first = 0;  // those before it are done with
  size_t count = 0;
  size_t sizes[kMost] = {};

 private:
  friend class Carrier;
  // In front of each packet is room for its length.
  static constexpr size_t kLengthBytes = StreamReader::kLengthBytes;
  uint8_t* Framed(size_t i) { return &memory_[i * stride_]; }

  size_t packet_bytes_;
  size_t stride_;
  std::vector<uint8_t> memory_;
};

class Carrier {
 public:
  enum class Result { kSome, kBlocked, kBroken };

  explicit Carrier(bool tcp, size_t packet_bytes);

  // Starts connecting; false where that fails at once. What was open is closed.
  bool Connect(const SocketAddress& address);
  // After poll says that it may be written to: whether it is connected now.
  bool Connected();
  bool connecting() const { return connecting_; }
  int fd() const { return fd_.get(); }
  void Close();

  // Hands packets over, from the batch's first. kSome where all went.
  Result Send(Batch* batch);
  // Fills the batch from its start.
  Result Receive(Batch* batch);

  // Why it broke, or what the network said last.
  const std::string& trouble() const { return trouble_; }
  // Whether the address was found to have nobody, since it was connected to (UDP).
  bool refused() const { return refused_; }

 private:
  Result SendDatagrams(Batch* batch);
  Result SendStream(Batch* batch);
  Result ReceiveDatagrams(Batch* batch);
  Result ReceiveStream(Batch* batch);
  Result Broken(const std::string& why);
  bool Fails();
  void NoteTrouble();
  bool TakePackets(Batch* batch);

  bool tcp_;
  UniqueFd fd_;
  bool connecting_ = false;
  std::string trouble_;
  bool refused_ = false;
  size_t sent_bytes_ = 0;  // of the batch's first packet, over TCP
  StreamReader stream_;    // TCP's
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_CARRIER_H_
