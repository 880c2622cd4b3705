# SPDX-License-Identifier: Apache-2.0
"""The 32 bytes that every packet begins with."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from splitc.link.packets import HEADER_BYTES, IP_UDP_BYTES, MOST_CHUNKS, TAG_BYTES

MAGIC = 0x4353
"""The first two bytes of a packet, "SC"."""

VERSION = 1

HEADER = np.dtype(
    [
        ("magic", "<u2"), ("version", "u1"), ("kind", "u1"), ("session", "<u8"), ("split", "<u8"),
        ("frame", "<u4"), ("route", "<u2"), ("chunk", "<u2"), ("chunks", "<u2"), ("extra", "<u2"),
    ]
)  # fmt: skip
"""The header as numpy reads it from a block of packets."""

_HEADER = struct.Struct("<HBBQQIHHHH")


class Kind(IntEnum):
    """What a packet is."""

    HELLO = 1
    CHALLENGE = 2
    WELCOME = 3
    REFUSE = 4
    DATA = 5
    PARITY = 6
    NACK = 7
    ANSWER = 8
    FAIL = 9
    PROBE = 10
    ECHO = 11
    BYE = 12
    REPORT = 13


class Transport(IntEnum):
    """What is done about packets that are lost on the way to the server."""

    UDP = 0
    RESEND = 1
    PARITY = 2
    TCP = 3


class Header(NamedTuple):
    """A packet's header.

    Args:
        kind: What the packet is.
        session: Which session it is of; 0 before there is one.
        split: `split_id` of the bundle that the sender runs.
        frame: Number of the frame in its session, from 0.
        route: Index of the route among the bundle's.
        chunk: Number of the chunk in its frame.
        chunks: Chunks of values that the frame has.
        extra: By kind: see docs/wire.md.
    """

    kind: Kind
    session: int = 0
    split: int = 0
    frame: int = 0
    route: int = 0
    chunk: int = 0
    chunks: int = 0
    extra: int = 0


def write_header(header: Header) -> bytes:
    """A header's 32 bytes."""
    return _HEADER.pack(MAGIC, VERSION, *header)


def read_header(packet: bytes | memoryview) -> Header | None:
    """The header of a packet; None where it is none of ours, or of another version."""
    if version_of(packet) != VERSION or len(packet) < HEADER_BYTES:
        return None
    _, _, kind, *rest = _HEADER.unpack_from(packet)
    return Header(Kind(kind), *rest) if kind in _KINDS else None


def version_of(packet: bytes | memoryview) -> int | None:
    """The version of the format that a packet is in; None where it is none of ours.

    Magic, version and kind stand where they do in every version, and so does a refusal's code:
    a peer of another version can be told from a stranger.
    """
    if len(packet) < 4 or packet[0] | packet[1] << 8 != MAGIC:
        return None
    return packet[2]


def split_id(digest: str) -> int:
    """What stands for a bundle in a header: the first 8 bytes of its split's digest.

    Args:
        digest: The manifest's `split`, in hexadecimal.
    """
    return int.from_bytes(bytes.fromhex(digest)[:8], "little")


_KINDS = frozenset(Kind)


__all__ = [
    "HEADER",
    "HEADER_BYTES",
    "IP_UDP_BYTES",
    "MAGIC",
    "MOST_CHUNKS",
    "TAG_BYTES",
    "VERSION",
    "Header",
    "Kind",
    "Transport",
    "read_header",
    "split_id",
    "version_of",
    "write_header",
]
