# SPDX-License-Identifier: Apache-2.0
"""Addresses: their text, what a name stands for, and peers as sockets give them."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import Any

from splitc.errors import DeviceError, UsageError

PEER_BYTES = 28
"""Of a peer: a `sockaddr_in6`, or a `sockaddr_in` and zeros."""

_IPV4_BYTES, _IPV6_BYTES = 16, 28


@dataclass(frozen=True)
class Address:
    """A host and a port.

    Args:
        host: A name, an IPv4 address, or an IPv6 address without brackets.
        port: 0 to 65535; 0 is whichever is free, for who listens.
    """

    host: str
    port: int

    @staticmethod
    def parse(text: str) -> Address:
        """An address from `HOST:PORT` or `[IPv6]:PORT`.

        Raises:
            UsageError: It is malformed.
        """
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:/\[\]]+)):(\d{1,5})", text)
        if match is None or int(match[3]) > 65_535 or len(text) > 300:
            hint = "write HOST:PORT, or [ADDRESS]:PORT for IPv6, like 192.168.1.5:4353"
            raise UsageError(f"'{text:.60}' is no address", hint=hint)
        if match[1] and not _is_ipv6(match[1]):
            raise UsageError(f"'{text:.60}' is no address", why="there is no IPv6 address in [ ]")
        return Address(match[1] or match[2], int(match[3]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be meant."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Place:
    """What an address stands for on this machine.

    Args:
        family: `socket.AF_INET` or `socket.AF_INET6`.
        name: What `bind` and `connect` take.
    """

    family: int
    name: Any


def resolve(address: Address, *, listens: bool = False) -> Place:
    """Where an address is, the first answer of the system's resolver.

    Args:
        address: The address.
        listens: Whether a socket of this machine is to be bound to it.

    Raises:
        UsageError: Port 0 of somebody else.
        DeviceError: There is no such host.
    """
    if not (address.port or listens):
        raise UsageError(f"'{address}' is no address", why="nobody can be called on port 0")
    flags = socket.AI_PASSIVE if listens else 0
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_DGRAM, proto=socket.IPPROTO_UDP,
            flags=flags,
        )  # fmt: skip
    except (OSError, UnicodeError) as error:
        raise DeviceError(
            f"there is no host '{address.host:.60}'",
            why=getattr(error, "strerror", None) or str(error),
            hint="look at the name, or write the number, like 192.168.1.5",
        ) from error
    family, _, _, _, name = found[0]
    return Place(family, name)


def listening(
    address: Address, kind: socket.SocketKind, *, waiting: int = 128,
    receive_bytes: int | None = None,
) -> socket.socket:  # fmt: skip
    """A socket that anybody can send or connect to.

    Args:
        address: Of this machine; port 0 is any that is free.
        kind: `socket.SOCK_DGRAM` or `socket.SOCK_STREAM`.
        waiting: Connections at most that have come and were not accepted.
        receive_bytes: Memory to ask the kernel for; None for what it gives.

    Raises:
        DeviceError: There is no such address here, or the port is in use.
    """
    place = resolve(address, listens=True)
    made = socket.socket(place.family, kind)
    try:
        if receive_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if place.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
        if kind == socket.SOCK_STREAM:
            # Connections of one that has just stopped do not keep the next one out.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place.name)
        if kind == socket.SOCK_STREAM:
            made.listen(waiting)
    except OSError as error:
        made.close()
        raise cannot("listen on", address, error) from error
    return made


def peer_of(family: int, name: Any) -> bytes:
    """A socket's name in Python as a peer: its `sockaddr`, padded to 28 bytes."""
    if family == socket.AF_INET6:
        host, port, flow, scope = name
        raw = (
            socket.htons(port).to_bytes(2, _NATIVE) + socket.htonl(flow).to_bytes(4, _NATIVE)
            + socket.inet_pton(family, host.partition("%")[0]) + scope.to_bytes(4, _NATIVE)
        )  # fmt: skip
    else:
        host, port = name
        raw = socket.htons(port).to_bytes(2, _NATIVE) + socket.inet_pton(family, host)
    return (family.to_bytes(2, _NATIVE) + raw).ljust(PEER_BYTES, b"\0")


def name_of(peer: bytes) -> Any:
    """A peer as Python's sockets name it: the inverse of `peer_of`."""
    port = int.from_bytes(peer[2:4], "big")
    if int.from_bytes(peer[:2], _NATIVE) == socket.AF_INET6:
        flow = int.from_bytes(peer[4:8], "big")
        host = socket.inet_ntop(socket.AF_INET6, peer[8:24])
        return host, port, flow, int.from_bytes(peer[24:28], _NATIVE)
    return socket.inet_ntop(socket.AF_INET, peer[4:8]), port


def peer_bytes(peer: bytes) -> int:
    """How long the `sockaddr` of a peer is without the zeros after it."""
    return _IPV6_BYTES if int.from_bytes(peer[:2], _NATIVE) == socket.AF_INET6 else _IPV4_BYTES


def show_peer(peer: bytes) -> str:
    """A peer for people: `192.168.1.5:4353`; of an IPv4 peer of an IPv6 socket the same."""
    host, port = name_of(peer)[:2]
    return str(Address(host.removeprefix("::ffff:") if "." in host else host, port))


def cannot(what: str, address: Address | str, error: OSError) -> DeviceError:
    """What a failed call of a socket means.

    Args:
        what: What was tried, like "listen on".
        address: Where.
        error: How the call failed.
    """
    hints = {
        errno.EADDRINUSE: "choose another port, or stop what listens there",
        errno.EACCES: "choose a port from 1024",
        errno.EADDRNOTAVAIL: "listen on an address of this machine: `ip address` lists them",
        errno.ECONNREFUSED: "is `splitc serve` running there, on that port?",
        errno.ENETUNREACH: "is this machine in a network that leads there?",
        errno.EHOSTUNREACH: "is that machine on, and in this network?",
        errno.ETIMEDOUT: "is that machine on, and does a firewall let it answer?",
    }
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    reasons = {
        errno.EADDRINUSE: "the port is in use",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
        errno.ECONNREFUSED: "nothing listens there",
        errno.ENETUNREACH: "no network leads there",
        errno.EHOSTUNREACH: "the host cannot be reached",
        errno.ETIMEDOUT: "there was no answer in time",
    }
    why = reasons.get(number, os.strerror(number) if number else str(error))
    return DeviceError(f"cannot {what} {address}", why=why, hint=hints.get(number, ""))


_NATIVE = "little" if socket.htons(1) != 1 else "big"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
