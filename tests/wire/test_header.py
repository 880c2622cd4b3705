# SPDX-License-Identifier: Apache-2.0
"""The header byte by byte, and blocks of packets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import UsageError
from splitc.link.packets import payload_bytes
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import (
    HEADER,
    HEADER_BYTES,
    Header,
    Kind,
    read_header,
    split_id,
    version_of,
    write_header,
)  # fmt: skip

ONE = Header(Kind.PARITY, 0x0807060504030201, 0x1817161514131211, 0x24232221, 0x3231, 0x4241,
             0x5251, 0x6261)  # fmt: skip


def test_every_field_stands_where_the_format_says_lowest_byte_first() -> None:
    assert write_header(ONE).hex(" ", 2) == (
        "5343 0106 0102 0304 0506 0708 1112 1314 1516 1718 2122 2324 3132 4142 5152 6162"
    )
    assert HEADER.itemsize == HEADER_BYTES == 32


headers = st.builds(
    Header, st.sampled_from(Kind), *[st.integers(0, 2 ** (8 * n) - 1) for n in (8, 8, 4)],
    *[st.integers(0, 0xFFFF)] * 4,
)  # fmt: skip


@given(headers, st.binary(max_size=40))
def test_a_header_is_read_as_it_was_written_alone_and_in_a_block(
    header: Header, payload: bytes
) -> None:
    assert read_header(write_header(header) + payload) == header
    made = Datagrams.of(header, payload)
    assert bytes(made.payload(0)) == payload
    assert tuple(made.headers[0])[2:] == (int(header.kind), *header[1:])


@given(st.binary(max_size=80))
def test_what_is_none_of_ours_is_none(packet: bytes) -> None:
    if packet[:2] != b"SC":
        assert read_header(packet) is None
        assert version_of(packet) is None


@pytest.mark.parametrize(
    "packet",
    [b"", write_header(ONE)[:31], b"SD" + write_header(ONE)[2:], b"SC\x02" + write_header(ONE)[3:],
     b"SC\x01\x00" + write_header(ONE)[4:], b"SC\x01\x0e" + write_header(ONE)[4:]],
    ids=["empty", "short", "magic", "version", "kind 0", "kind 14"],
)  # fmt: skip
def test_a_broken_header_is_none(packet: bytes) -> None:
    assert read_header(packet) is None


def test_another_version_is_told_from_a_stranger() -> None:
    assert version_of(b"SC\x07\x04") == 7
    assert version_of(b"SC\x07") is None
    assert version_of(b"GET / HTTP/1.1") is None


def test_a_bundle_is_known_by_its_first_eight_bytes() -> None:
    assert split_id("0102030405060708" + "ff" * 24) == 0x0807060504030201


def test_packets_of_any_length_go_into_one_block_with_room_to_seal() -> None:
    packets = [bytes([k]) * (32 + k) for k in (0, 3, 40)]
    made = Datagrams.packets(packets)
    assert [bytes(made.packet(k)) for k in range(3)] == packets
    assert made.block.shape[1] >= 72 + 16
    assert [bytes(made.take([2, 0]).packet(k)) for k in range(2)] == [packets[2], packets[0]]
    assert np.shares_memory(made.take(slice(1, 3)).block, made.block)
    assert len(Datagrams.packets([])) == 0


def test_the_overhead_is_the_same_sealed_or_not() -> None:
    assert payload_bytes(1500) == 1404 == 1500 - 40 - 8 - 32 - 16
    for mtu in (96, 0, -3, 65536):
        with pytest.raises(UsageError, match=f"mtu {mtu} is no packet size"):
            payload_bytes(mtu)
