# SPDX-License-Identifier: Apache-2.0
"""Sealed packets: what an independent call of the cipher makes of them, and what is noticed."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from splitc.errors import ToolchainError
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, Header, Kind, write_header
from splitc.wire.seal import Seal

aead = pytest.importorskip(
    "cryptography.hazmat.primitives.ciphers.aead", reason="needs the extra 'serve'"
)

KEY = bytes(range(32))
HEADERS = [
    Header(Kind.DATA, 5, 6, 2**32 - 2, 3, chunk, 4, 500) for chunk in range(3)
] + [Header(Kind.BYE, 5, 6)]  # fmt: skip
PLAIN = [b"x" * 100, b"", b"yz", b""]
PACKETS = [write_header(h) + p for h, p in zip(HEADERS, PLAIN, strict=True)]


def sealed() -> Datagrams:
    return Seal(KEY).seal(Datagrams.packets(PACKETS))


def contents(packets: Datagrams) -> list[bytes]:
    return [bytes(packets.packet(k)) for k in range(len(packets))]


def test_a_packet_is_sealed_as_the_format_says() -> None:
    cipher = aead.ChaCha20Poly1305(KEY)
    for header, plain, packet in zip(HEADERS, PLAIN, contents(sealed()), strict=True):
        nonce = struct.pack(
            "<BBHIHH", header.kind, 0, header.route, header.frame, header.chunk, header.extra
        )
        head = write_header(header)
        assert packet == head + cipher.encrypt(nonce, plain, head)


def test_sealing_and_opening_happens_in_the_rows_that_the_packets_lie_in() -> None:
    packets = Datagrams.packets(PACKETS)
    closed = Seal(KEY).seal(packets)
    assert closed.block is packets.block
    opened, bad = Seal(KEY).open(closed)
    assert opened.block is packets.block and bad == 0
    assert contents(opened) == PACKETS


def test_rows_without_room_are_made_longer() -> None:
    block = np.frombuffer(PACKETS[0], np.uint8).reshape(1, -1)
    closed = Seal(KEY).seal(Datagrams(block, np.array([len(PACKETS[0])])))
    assert contents(closed) == contents(sealed())[:1]


def test_any_altered_byte_and_any_cut_packet_is_left_out() -> None:
    right = contents(sealed())
    broken: list[bytes] = []
    for place in range(len(right[2])):
        altered = bytearray(right[2])
        altered[place] ^= 0x40
        broken += [bytes(altered), right[2][:place]]
    opened, bad = Seal(KEY).open(Datagrams.packets([right[0], *broken, right[2]]))
    assert bad == len(broken)
    assert contents(opened) == [PACKETS[0], PACKETS[2]]


def test_the_other_direction_opens_nothing() -> None:
    opened, bad = Seal(bytes(32)).open(sealed())
    assert bad == 4 and len(opened) == 0
    assert opened.block.shape[1] >= HEADER_BYTES


def test_nothing_is_sealed_and_opened_as_nothing() -> None:
    none = Datagrams.packets([])
    assert len(Seal(KEY).seal(none)) == 0
    assert len(Seal(KEY).open(none)[0]) == 0


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ToolchainError, match=r"needs cryptography\n.*splitc\[serve\]"):
        Seal(KEY)
