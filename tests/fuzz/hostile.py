# SPDX-License-Identifier: Apache-2.0
"""What hostile bytes must not do to the Python side: targets for a fuzzer.

A target takes any bytes and raises where a promise is broken: packets are dropped and counted,
memory is bounded, manifests are refused by name. `tests.fuzz.python` runs a fuzzer on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from splitc.runtime.manifest import Missing
from splitc.wire.answers import Answers
from splitc.wire.assembly import IN_FLIGHT, Assembly
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Challenge, Hello, Refuse, Welcome, hello_signed
from splitc.wire.header import Kind, Transport
from splitc.wire.keys import session_keys
from splitc.wire.nack import missing_rows
from splitc.wire.probe import Echoes, read_echoes
from splitc.wire.received import Counters
from splitc.wire.report import read_report
from splitc.wire.seal import Seal
from tests.fuzz import conversations, manifests
from tests.wire.make_golden import (
    CLIENT,
    FOLDER,
    FRAMES,
    HEADER,
    PSK,
    SEED,
    SERVER,
    SESSION,
    SPLIT,
    filled,
)

_LONGEST = 2047
_PACKETS = ("chunks", "parity", "duplicate", "stale", "late", "jump", "malformed", "foreign")


def split(data: bytes) -> Iterator[bytes]:
    """Packets as the golden files have them: u32 length, packet; what is cut is a packet too."""
    while len(data) >= 4:
        end = 4 + (int.from_bytes(data[:4], "little") & _LONGEST)
        yield data[4:end]
        data = data[end:]


def boundary(name: str) -> Boundary:
    """What the frames of a golden file are cut by."""
    case = FRAMES[name]
    specs, _ = filled(case["tensors"])
    size = case.get("payload_bytes") or case["mtu"] - 96
    return Boundary(specs, size, SEED, [Missing(unit=unit) for *_, unit in case["tensors"]])


def receivers() -> list[tuple[Assembly, Seal | None]]:
    """Receivers of all transports, for what the golden files hold, and what opens it."""
    common: dict[str, Any] = {
        "session": SESSION, "split": SPLIT, "deadline_s": 1.0, "grace_s": 0.25
    }  # fmt: skip
    route = HEADER["route"]
    answers = Answers(filled([["float32", [1, 10], 1], ["int64", [3], 1]])[0], 30)
    return [
        (Assembly({route: boundary("several")}, **common), None),
        (
            Assembly({route: boundary("levels-of-3-bits")}, transport=Transport.RESEND, **common),
            None,
        ),
        (
            Assembly(
                {route: boundary("parity")}, transport=Transport.PARITY, parity_percent=30, **common
            ),
            None,
        ),
        (
            Assembly({route: boundary("sealed")}, transport=Transport.TCP, **common),
            Seal(_SEALS.device),
        ),
        (
            Assembly({route: answers}, kind=Kind.ANSWER, transport=Transport.RESEND, **common),
            None,
        ),
    ]


def counted(counters: Counters) -> int:
    """Packets that a receiver has accounted for."""
    return sum(getattr(counters, name) for name in _PACKETS)


_SEALS = session_keys(PSK, CLIENT, SERVER)


def packets(data: bytes) -> None:
    """Any packets, several at once, to everything that reads them."""
    each = list(split(data))
    for packet in each:
        for kind in (Hello, Challenge, Welcome, Refuse):
            kind.read(packet)
        hello_signed(packet, PSK)
        missing_rows(packet, 100)
    together = 1 + (len(data) & 7)
    for one, seal in receivers():
        now, came = 0.0, 0
        for start in range(0, len(each), together):
            block = Datagrams.packets(each[start : start + together])
            if seal is not None:
                wanted = len(block)
                block, bad = seal.open(block)
                assert len(block) + bad == wanted
            came += len(block)
            closed = one.add(block, now) + one.due(now)
            one.gaps(now)
            assert all(0 <= frame.share <= 1 for frame in closed)
            assert one.bytes_held <= IN_FLIGHT * 16 * 1024
            due_s = one.next_due()
            now = max(now + 0.125, due_s or 0.0) if len(data) & 8 else now
        assert counted(one.counters) == came
        assert 0 <= one.loss_rate <= 1
    block = Datagrams.packets(each)
    whole = block.take(block.lengths >= 32)
    answered = Echoes().answer(whole, 0)
    assert answered.lengths.sum() <= whole.lengths.sum()
    read_echoes(whole)
    for row in range(len(whole)):
        report = read_report(whole.take(slice(row, row + 1)))
        assert report is None or report.came <= report.chunks


TARGETS: dict[str, Callable[[bytes], None]] = {
    "packets": packets,
    "conversations": conversations.conversations,
    "manifests": manifests.manifests,
}


def seeds(target: str) -> list[bytes]:
    """Inputs that make sense, to begin from."""
    if target == "conversations":
        return conversations.seeds()
    if target == "manifests":
        return manifests.seeds()
    return [path.read_bytes() for path in sorted(FOLDER.glob("*.bin"))]
