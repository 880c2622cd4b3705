# SPDX-License-Identifier: Apache-2.0
"""Packets of version 1 are what they always were, and what the files say is read back."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="needs the extra 'serve'")
pytest.importorskip("zfec", reason="needs the extra 'parity'")

from splitc.runtime.manifest import Missing
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import (
    Hello,
    Welcome,
    hello_signed,
    welcome_signed,
)
from splitc.wire.header import HEADER_BYTES, Kind, read_header
from splitc.wire.keys import session_keys
from splitc.wire.report import read_report
from splitc.wire.seal import Seal
from tests.wire.make_golden import (
    CLIENT,
    FOLDER,
    FRAMES,
    HELLO,
    PSK,
    REPORT,
    SEED,
    SERVER,
    WELCOME,
    filled,
    framed,
    index,
    packets,
)


def stored(name: str) -> list[bytes]:
    """A file's packets."""
    data, found = (FOLDER / f"{name}.bin").read_bytes(), list[bytes]()
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[4:end])
        data = data[end:]
    return found


def test_every_packet_is_made_as_it_was_when_the_format_was_fixed() -> None:
    made = packets()
    assert {path.stem for path in FOLDER.glob("*.bin")} == {*made}
    for name, each in made.items():
        assert framed(each) == (FOLDER / f"{name}.bin").read_bytes(), name
    assert json.loads((FOLDER / "index.json").read_text("utf-8")) == index()


def test_every_kind_of_packet_is_among_them() -> None:
    headers = [read_header(packet) for path in FOLDER.glob("*.bin") for packet in stored(path.stem)]
    assert {header.kind for header in headers if header is not None} == {*Kind}
    assert None not in headers


def test_greetings_are_read_back() -> None:
    assert Hello.read(stored("hello")[0]) == Hello.read(stored("hello-signed")[0]) == HELLO
    assert Welcome.read(stored("welcome-signed")[0]) == WELCOME
    assert hello_signed(stored("hello-signed")[0], PSK)
    assert welcome_signed(stored("welcome-signed")[0], PSK)


def test_who_wants_reports_says_so() -> None:
    for name, wants in (("hello-for-reports", True), ("hello-signed", False)):
        hello = Hello.read(stored(name)[0])
        assert hello is not None
        assert hello.wants_reports == wants


def test_reports_are_read_back() -> None:
    assert read_report(Datagrams.packets(stored("report"))) == REPORT
    opened, bad = Seal(session_keys(PSK, CLIENT, SERVER).server).open(
        Datagrams.packets(stored("report-sealed"))
    )
    assert bad == 0
    assert read_report(opened) == REPORT


@pytest.mark.parametrize("name", [name for name in FRAMES if "parity" not in name])
def test_frames_are_read_back(name: str) -> None:
    case = FRAMES[name]
    specs, arrays = filled(case["tensors"])
    came = Datagrams.packets(stored(name))
    if case.get("sealed"):
        came, bad = Seal(session_keys(PSK, CLIENT, SERVER).device).open(came)
        assert bad == 0
    longest = int(came.lengths.max()) - HEADER_BYTES
    size = case.get("payload_bytes") or case["mtu"] - 96
    assert longest <= size
    boundary = Boundary(specs, size, SEED, [Missing(unit=unit) for *_, unit in case["tensors"]])
    rows = np.zeros((boundary.chunks, size), np.uint8)
    rows[:, :longest] = came.block[:, HEADER_BYTES : HEADER_BYTES + longest]
    for array, back in zip(arrays, boundary.unpack(rows, np.ones(len(came), bool))[0], strict=True):
        assert back.tobytes() == array.tobytes()
