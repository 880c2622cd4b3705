# SPDX-License-Identifier: Apache-2.0
"""How a device and a server come to a session: HELLO, CHALLENGE, WELCOME, REFUSE."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from splitc.wire.header import HEADER_BYTES, Header, Kind, Transport, read_header, write_header
from splitc.wire.keys import MAC_BYTES, NONCE_BYTES, mac

HELLO_BYTES = 256
"""Bytes of a HELLO's payload, most of them zeros: no answer to it is longer."""

WANTS_REPORTS = 1
"""Bit of a HELLO's flags: the device asks for a REPORT with each answer."""

_HELLO = struct.Struct("<16s32sHBBIII")
_CHALLENGE = struct.Struct("<16s32s")
_WELCOME = struct.Struct("<16s16sQHH")
_REFUSE = struct.Struct("<B16s")

NO_COOKIE = bytes(32)
NO_NONCE = bytes(NONCE_BYTES)


@dataclass(frozen=True)
class Hello:
    """A device asks for a session.

    Args:
        client_nonce: 16 random bytes, new for each session.
        payload_bytes: Bytes of values in a packet.
        transport: What is done about lost packets.
        deadline_us: Microseconds after which the server answers with what it has.
        grace_us: Microseconds that late packets are waited for.
        cookie: What the server's CHALLENGE gave, 32 bytes; zeros at first.
        parity_percent: Parity packets for each 100, with `Transport.PARITY`.
        flags: Bits: `WANTS_REPORTS`; the others are 0.
        split: `split_id` of the device's bundle; 0 of one who has none and only probes.
    """

    client_nonce: bytes
    payload_bytes: int
    transport: Transport
    deadline_us: int
    grace_us: int
    cookie: bytes = NO_COOKIE
    parity_percent: int = 0
    flags: int = 0
    split: int = 0

    @property
    def wants_reports(self) -> bool:
        """Whether the device asks for a REPORT with each answer."""
        return bool(self.flags & WANTS_REPORTS)

    def write(self, psk: bytes | None = None) -> bytes:
        """The packet."""
        body = _HELLO.pack(
            self.client_nonce, self.cookie, self.payload_bytes, self.transport,
            self.parity_percent, self.deadline_us, self.grace_us, self.flags,
        )  # fmt: skip
        header = write_header(Header(Kind.HELLO, split=self.split))
        return _signed((header + body).ljust(_UNSIGNED, b"\0"), psk, _HELLO_KEY)

    @staticmethod
    def read(packet: bytes | memoryview) -> Hello | None:
        """What a packet says; None where it is no HELLO, or one that makes no sense."""
        header = read_header(packet)
        if header is None or header.kind != Kind.HELLO:
            return None
        if len(packet) != HEADER_BYTES + HELLO_BYTES:
            return None
        nonce, cookie, payload, transport, parity, deadline, grace, flags = _HELLO.unpack_from(
            packet, HEADER_BYTES
        )
        if transport not in _TRANSPORTS or not payload:
            return None
        return Hello(
            nonce, payload, Transport(transport), deadline, grace, cookie, parity, flags,
            header.split,
        )  # fmt: skip


class Challenge(NamedTuple):
    """A server asks for a sign that the device gets what is sent to its address.

    Args:
        client_nonce: The HELLO's.
        cookie: To be said in the next HELLO.
        split: The HELLO's.
    """

    client_nonce: bytes
    cookie: bytes
    split: int = 0

    def write(self) -> bytes:
        """The packet."""
        header = write_header(Header(Kind.CHALLENGE, split=self.split))
        return header + _CHALLENGE.pack(self.client_nonce, self.cookie)

    @staticmethod
    def read(packet: bytes | memoryview) -> Challenge | None:
        """What a packet says; None where it is no CHALLENGE."""
        header = read_header(packet)
        if header is None or header.kind != Kind.CHALLENGE:
            return None
        if len(packet) != HEADER_BYTES + _CHALLENGE.size:
            return None
        nonce, cookie = _CHALLENGE.unpack_from(packet, HEADER_BYTES)
        return Challenge(nonce, cookie, header.split)


@dataclass(frozen=True)
class Welcome:
    """A server opens a session.

    Args:
        session: Its number, random, not 0.
        client_nonce: The HELLO's.
        server_nonce: 16 random bytes, new for each session.
        order_seed: Of the order that elements are sent in.
        frames_in_flight: Frames that the server puts together at once.
        split: The HELLO's.
    """

    session: int
    client_nonce: bytes
    server_nonce: bytes
    order_seed: int
    frames_in_flight: int
    split: int = 0

    def write(self, psk: bytes | None = None) -> bytes:
        """The packet."""
        body = _WELCOME.pack(
            self.client_nonce, self.server_nonce, self.order_seed, self.frames_in_flight, 0
        )
        header = write_header(Header(Kind.WELCOME, self.session, self.split))
        return _signed(header + body, psk, _WELCOME_KEY)

    @staticmethod
    def read(packet: bytes | memoryview) -> Welcome | None:
        """What a packet says; None where it is no WELCOME, or one that makes no sense."""
        header = read_header(packet)
        if header is None or header.kind != Kind.WELCOME or not header.session:
            return None
        if len(packet) != HEADER_BYTES + _WELCOME.size + MAC_BYTES:
            return None
        client, server, seed, frames, _ = _WELCOME.unpack_from(packet, HEADER_BYTES)
        return Welcome(header.session, client, server, seed, frames, header.split)


class Code(IntEnum):
    """Why a server refuses."""

    VERSION = 1
    BUNDLE = 2
    KEY = 3
    FULL = 4
    SESSION = 5
    BAD = 6
    STOPPING = 7


class Refuse(NamedTuple):
    """A server refuses. Nobody signs it: it is a hint, which anybody can send.

    Args:
        code: Why.
        client_nonce: The HELLO's; zeros where it answers something else.
        text: The reason in words.
        session: The session that the refused packet named.
        split: The bundle that it named.
    """

    code: Code
    client_nonce: bytes = NO_NONCE
    text: str = ""
    session: int = 0
    split: int = 0

    def write(self, longest: int) -> bytes | None:
        """The packet, its text cut so that it is not longer than what it answers.

        Args:
            longest: Bytes of what it answers; None comes back where that is too short.
        """
        header = write_header(Header(Kind.REFUSE, self.session, self.split))
        short = header + _REFUSE.pack(self.code, self.client_nonce)
        if len(short) > longest:
            # All that a device with small packets ever sends may be a question of 33 bytes.
            bare = header + bytes([self.code])
            return bare if self.client_nonce == NO_NONCE and len(bare) <= longest else None
        text = self.text.encode()[: longest - len(short)]
        return short + text.decode(errors="ignore").encode()

    @staticmethod
    def read(packet: bytes | memoryview) -> Refuse | None:
        """What a packet says; None where it is no REFUSE, or one without a known reason."""
        header = read_header(packet)
        if header is None or header.kind != Kind.REFUSE:
            return None
        if len(packet) == HEADER_BYTES + 1:
            code, nonce = packet[HEADER_BYTES], NO_NONCE
        elif len(packet) < HEADER_BYTES + _REFUSE.size:
            return None
        else:
            code, nonce = _REFUSE.unpack_from(packet, HEADER_BYTES)
        if code not in _CODES:
            return None
        text = bytes(packet[HEADER_BYTES + _REFUSE.size :]).decode(errors="replace")
        return Refuse(Code(code), nonce, text, header.session, header.split)


def hello_signed(packet: bytes | memoryview, psk: bytes | None) -> bool:
    """Whether a HELLO comes from one who has the same key, or none as we."""
    return _is_signed(packet, psk, _HELLO_KEY)


def welcome_signed(packet: bytes | memoryview, psk: bytes | None) -> bool:
    """Whether a WELCOME comes from one who has the same key, or none as we."""
    return _is_signed(packet, psk, _WELCOME_KEY)


def is_signed(packet: bytes | memoryview) -> bool:
    """Whether a HELLO or WELCOME comes from one who has a key, whichever."""
    return any(packet[-MAC_BYTES:])


def _signed(packet: bytes, psk: bytes | None, info: bytes) -> bytes:
    return packet + mac(psk, info, packet)


def _is_signed(packet: bytes | memoryview, psk: bytes | None, info: bytes) -> bool:
    end = len(packet) - MAC_BYTES
    return hmac.compare_digest(packet[end:], mac(psk, info, bytes(packet[:end])))


_HELLO_KEY = b"splitc wire 1 hello"
_WELCOME_KEY = b"splitc wire 1 welcome"
_UNSIGNED = HEADER_BYTES + HELLO_BYTES - MAC_BYTES
_TRANSPORTS, _CODES = frozenset(Transport), frozenset(Code)
