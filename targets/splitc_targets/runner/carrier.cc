// SPDX-License-Identifier: Apache-2.0
//
// Sockets that do not block.

#include "carrier.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

namespace splitc {
namespace {

// What the kernel keeps for a socket, where it grants that: a few frames.
constexpr int kSocketBytes = 1 << 20;

[[noreturn]] void BadAddress(const std::string& text, const std::string& why) {
  Fail(ExitCode::kUsage, "--send", "\"" + text + "\" " + why + ": write it like 10.0.0.1:9000");
}

// "HOST:PORT" taken apart.
std::pair<std::string, std::string> HostAndPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) BadAddress(text, "has no host and port");
  std::string host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    BadAddress(text, "has an IPv6 address without brackets");
  }
  uint32_t number = 0;
  for (const char c : port) {
    if (c < '0' || c > '9' || number > 65535) BadAddress(text, "has no such port");
    number = number * 10 + static_cast<uint32_t>(c - '0');
  }
  if (number < 1 || number > 65535) BadAddress(text, "has no such port");
  return {host, port};
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

std::vector<SocketAddress> FindAddresses(const std::string& text, bool tcp) {
  const auto [host, port] = HostAndPort(text);
  addrinfo hints{};
  hints.ai_socktype = tcp ? SOCK_STREAM : SOCK_DGRAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    const std::string why = error == EAI_SYSTEM ? LastSystemError() : gai_strerror(error);
    Fail(ExitCode::kNetwork, text, "cannot find the host: " + why);
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    SocketAddress address;
    if (one->ai_addrlen > sizeof address.address) continue;
    std::memcpy(&address.address, one->ai_addr, one->ai_addrlen);
    address.bytes = one->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

Batch::Batch(size_t packet_bytes)
    : packet_bytes_(packet_bytes),
      stride_((kLengthBytes + packet_bytes + 63) / 64 * 64),
      memory_(kMost * stride_) {}

Carrier::Carrier(bool tcp, size_t packet_bytes)
    : tcp_(tcp), stream_(packet_bytes) {}

bool Carrier::Connect(const SocketAddress& address) {
  Close();
  const int type = (tcp_ ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  fd_ = UniqueFd(socket(address.address.ss_family, type, 0));
  if (fd() < 0) return Fails();
  if (tcp_) {
    const int yes = 1;
    setsockopt(fd(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  } else {
    setsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
    setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);
  }
  const auto* to = reinterpret_cast<const sockaddr*>(&address.address);
  connecting_ = connect(fd(), to, address.bytes) != 0;
  if (connecting_ && errno != EINPROGRESS) return Fails();
  return true;
}

bool Carrier::Connected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  connecting_ = false;
  errno = error;
  return error == 0 || Fails();
}

bool Carrier::Fails() {
  Broken(LastSystemError());
  return false;
}

void Carrier::Close() {
  fd_ = UniqueFd();
  connecting_ = refused_ = false;
  sent_bytes_ = 0;
  stream_.Clear();
}

Carrier::Result Carrier::Broken(const std::string& why) {
  trouble_ = why;
  Close();
  return Result::kBroken;
}

// What datagrams before met, which the socket tells once.
void Carrier::NoteTrouble() {
  if (errno == EINTR) return;
  trouble_ = LastSystemError();
  refused_ = refused_ || errno == ECONNREFUSED;
}

Carrier::Result Carrier::Send(Batch* batch) {
  if (fd() < 0) return Result::kBroken;
  return tcp_ ? SendStream(batch) : SendDatagrams(batch);
}

Carrier::Result Carrier::Receive(Batch* batch) {
  batch->first = batch->count = 0;
  if (fd() < 0) return Result::kBroken;
  return tcp_ ? ReceiveStream(batch) : ReceiveDatagrams(batch);
}

Carrier::Result Carrier::SendDatagrams(Batch* batch) {
  while (!batch->empty()) {
    iovec vectors[Batch::kMost];
    mmsghdr headers[Batch::kMost];
    std::memset(headers, 0, sizeof headers);
    const size_t count = batch->count - batch->first;
    for (size_t i = 0; i < count; ++i) {
      vectors[i] = {batch->Packet(batch->first + i), batch->sizes[batch->first + i]};
      headers[i].msg_hdr.msg_iov = &vectors[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int sent = sendmmsg(fd(), headers, static_cast<unsigned>(count), 0);
    if (sent > 0) {
      batch->first += static_cast<size_t>(sent);
    } else if (WouldBlock()) {
      return Result::kBlocked;
    } else if (errno != EINTR) {
      if (errno == EMSGSIZE) return Broken("packets are too large for the way: lower --mtu");
      // The first was not sent: refused, no way there, no room. UDP may lose any packet.
      NoteTrouble();
      ++batch->first;
    }
  }
  return Result::kSome;
}

Carrier::Result Carrier::SendStream(Batch* batch) {
  while (!batch->empty()) {
    iovec vectors[Batch::kMost];
    const size_t count = batch->count - batch->first;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t size = static_cast<uint32_t>(batch->sizes[batch->first + i]);
      uint8_t* framed = batch->Framed(batch->first + i);
      std::memcpy(framed, &size, sizeof size);
      const size_t skip = i == 0 ? sent_bytes_ : 0;
      vectors[i] = {framed + skip, sizeof size + size - skip};
    }
    msghdr header{};
    header.msg_iov = vectors;
    header.msg_iovlen = count;
    const ssize_t sent = sendmsg(fd(), &header, MSG_NOSIGNAL);
    if (sent < 0 && WouldBlock()) return Result::kBlocked;
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Broken(LastSystemError());
    size_t rest = static_cast<size_t>(sent);
    for (size_t i = 0; i < count && rest >= vectors[i].iov_len; ++i) {
      rest -= vectors[i].iov_len;
      ++batch->first;
      sent_bytes_ = 0;
    }
    sent_bytes_ += rest;
  }
  return Result::kSome;
}

Carrier::Result Carrier::ReceiveDatagrams(Batch* batch) {
  iovec vectors[Batch::kMost];
  mmsghdr headers[Batch::kMost];
  std::memset(headers, 0, sizeof headers);
  for (size_t i = 0; i < Batch::kMost; ++i) {
    vectors[i] = {batch->Packet(i), batch->packet_bytes()};
    headers[i].msg_hdr.msg_iov = &vectors[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
  const int got = recvmmsg(fd(), headers, Batch::kMost, 0, nullptr);
  if (got < 0) {
    if (!WouldBlock()) NoteTrouble();
    return Result::kBlocked;
  }
  batch->count = static_cast<size_t>(got);
  for (size_t i = 0; i < batch->count; ++i) {
    const bool cut = (headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
    batch->sizes[i] = cut ? 0 : headers[i].msg_len;
  }
  return Result::kSome;
}

Carrier::Result Carrier::ReceiveStream(Batch* batch) {
  if (!TakePackets(batch)) return Broken("it does not speak this protocol");
  if (!batch->empty()) return Result::kSome;
  const ssize_t got = recv(fd(), stream_.Room(), stream_.room(), 0);
  if (got < 0 && (WouldBlock() || errno == EINTR)) return Result::kBlocked;
  if (got < 0) return Broken(LastSystemError());
  if (got == 0) return Broken("it closed the connection");
  stream_.Came(static_cast<size_t>(got));
  return TakePackets(batch) ? Result::kSome : Broken("it does not speak this protocol");
}

// Moves whole packets from the stream to the batch. False where the stream makes no sense.
bool Carrier::TakePackets(Batch* batch) {
  while (batch->count < Batch::kMost) {
    const size_t at = batch->count;
    const StreamReader::Result result = stream_.Next(batch->Packet(at), &batch->sizes[at]);
    if (result != StreamReader::Result::kPacket) return result == StreamReader::Result::kNotYet;
    ++batch->count;
  }
  return true;
}

}  // namespace splitc
