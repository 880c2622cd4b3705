# SPDX-License-Identifier: Apache-2.0
"""Addresses: what is one, what a peer's bytes are, and what a failed call says."""

from __future__ import annotations

import errno
import socket

import pytest

from splitc.errors import DeviceError, UsageError
from splitc.net.address import PEER_BYTES, Address, cannot, name_of, peer_of, resolve, show_peer


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.5:4353", "192.168.1.5", 4353),
        ("server.local:1", "server.local", 1),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
        ("[::]:0", "::", 0),
    ],
)
def test_hosts_and_ports_are_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert address == Address(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", ":1", "host:", "host:65536", "host:-1", "::1:80", "[::1]", "[host]:1", "[::zz]:1",
     "a b:1", "http://host:1", "host:1 ", "x" * 400 + ":1"],
)  # fmt: skip
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "alone"),
    [("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True),
     ("0.0.0.0:1", False), ("192.168.1.5:1", False), ("[::]:1", False), ("loop.example:1", False)],
)  # fmt: skip
def test_loopback_is_known(text: str, alone: bool) -> None:
    assert Address.parse(text).is_loopback is alone


@pytest.mark.parametrize(
    ("family", "name", "shown"),
    [
        (socket.AF_INET, ("192.168.1.5", 4353), "192.168.1.5:4353"),
        (socket.AF_INET6, ("2001:db8::5", 4353, 0, 0), "[2001:db8::5]:4353"),
        (socket.AF_INET6, ("fe80::1", 1, 7, 3), "[fe80::1]:1"),
        (socket.AF_INET6, ("::ffff:10.0.0.1", 80, 0, 0), "10.0.0.1:80"),
    ],
)
def test_a_peer_is_what_a_socket_calls_it(family: int, name: tuple[str, int], shown: str) -> None:
    peer = peer_of(family, name)
    assert len(peer) == PEER_BYTES
    assert name_of(peer) == name
    assert show_peer(peer) == shown


def test_a_host_that_is_none_and_port_zero_are_named() -> None:
    with pytest.raises(DeviceError, match="there is no host 'no-such-host.invalid'"):
        resolve(Address("no-such-host.invalid", 1))
    with pytest.raises(DeviceError, match="there is no host"):
        resolve(Address("a" * 70, 1))
    with pytest.raises(UsageError, match="is no address"):
        resolve(Address("127.0.0.1", 0))
    assert resolve(Address("127.0.0.1", 0), listens=True).family == socket.AF_INET


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EADDRINUSE, ""), "the port is in use"),
        (OSError(errno.EACCES, ""), "Permission denied"),
        (OSError(errno.EADDRNOTAVAIL, ""), "does not have that address"),
        (OSError(errno.ECONNREFUSED, ""), "nothing listens"),
        (OSError(errno.ENETUNREACH, ""), "no network"),
        (OSError(errno.EHOSTUNREACH, ""), "cannot be reached"),
        (TimeoutError("timed out"), "no answer in time"),
    ],
)
def test_a_failed_call_says_why_and_what_to_do(error: OSError, why: str) -> None:
    made = cannot("talk to", Address("h", 1), error)
    assert (made.exit_code, made.what) == (8, "cannot talk to h:1")
    assert why in made.why
    assert made.hint
