# SPDX-License-Identifier: Apache-2.0
"""What hostile devices must not do to a server: bytes are read as what several devices say.

Each command is an octet that says what, another that says who, how many bytes are its own (u16),
and those. Three devices have come (by datagrams; asking again, and for reports; over a connection),
a fourth never.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import splitc
from splitc.bundle.bundle import Bundle
from splitc.serve.door import Door
from splitc.serve.journal import silent
from splitc.serve.limits import Limits
from splitc.serve.measures import Measures
from splitc.serve.peer import Outgoing, Place
from splitc.serve.refusals import Refusals
from splitc.serve.service import Service
from splitc.serve.tails import Served
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, Header, Kind, Transport, write_header
from tests.helpers import compile_routed, save, small_network
from tests.serve.device import Device, run_all

KEY = bytes(range(32))
LIMITS = Limits(peers=3, memory_bytes=40_000, frames_in_flight=3, window=8, idle_s=20.0)
WAYS = (Transport.UDP, Transport.RESEND, Transport.TCP)
STRANGER = len(WAYS)
PAYLOAD = 1024


class Said(NamedTuple):
    """One command.

    Args:
        what: Which of `COMMANDS`.
        who: Which device.
        body: Its bytes.
    """

    what: int
    who: int
    body: bytes

    def written(self) -> bytes:
        """It as bytes."""
        return bytes([self.what, self.who]) + len(self.body).to_bytes(2, "little") + self.body


def commands(data: bytes) -> Iterator[Said]:
    """Any bytes as commands."""
    while len(data) >= 4:
        end = 4 + (int.from_bytes(data[2:4], "little") & 2047)
        yield Said(data[0] % len(COMMANDS), data[1] % (STRANGER + 1), data[4:end])
        data = data[end:]


@cache
def scratch() -> Path:
    """A folder for bundles, and the small network in it."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    save(small_network(), Path(made.name) / "small.onnx")
    return Path(made.name)


@cache
def small_bundle() -> Bundle:
    """A small network's; its tail takes two frames at once as well."""
    return splitc.compile(
        scratch() / "small.onnx", cut="block_add", emit="onnx", batch_sizes=(2,),
        output=scratch() / "small.splitc",
    )  # fmt: skip


@cache
def routed_bundle() -> Bundle:
    """The same network with two cuts and a route of 8 bits at each."""
    return compile_routed(
        scratch() / "small.onnx", scratch() / "four.splitc", emit="onnx", head="rpi4"
    )


@cache
def whole_bundle() -> Bundle:
    """The same network on the device alone."""
    return splitc.compile(
        scratch() / "small.onnx", cut="device", emit="onnx", output=scratch() / "whole.splitc"
    )


@cache
def small_served() -> Served:
    """The same with a route of 8 bits beside; its tails take two frames at once as well."""
    bundle = compile_routed(
        scratch() / "small.onnx", scratch() / "routed.splitc", cuts=["block_add"], emit="onnx",
        batch_sizes=(2,), head="rpi4",
    )  # fmt: skip
    served = Served(bundle.path)
    atexit.register(served.close)
    return served


class Talk:
    """A server and its devices.

    Args:
        key: The key that it wants.
    """

    def __init__(self, key: bytes | None) -> None:
        served = small_served()
        self.measures = Measures()
        refusals = Refusals(LIMITS.refusals_per_s, self.measures, silent)
        door = Door(
            {served.split: served}, LIMITS, refusals, key=key, payload_bytes=2000,
            entropy=np.random.default_rng(7).bytes,
        )  # fmt: skip
        self.service = Service(door, refusals, LIMITS, self.measures)
        self.now = 0.0
        self.stopped = False
        self.devices = [
            Device(
                self.service, served, number, key=key, transport=way, payload_bytes=PAYLOAD,
                stream="a connection" if way is Transport.TCP else None,
                wants_reports=way is Transport.RESEND,
            )
            for number, way in enumerate((*WAYS, Transport.UDP))
        ]  # fmt: skip
        for device in self.devices[:STRANGER]:
            device.greet(self.now)
        # No second session is begun here but by `greet`.
        self.arrays = {
            route: [np.ones([n or 1 for n in spec.shape], spec.dtype) for spec in tail.crosses]
            for route, tail in served.tails.items()
        }

    def place(self, who: int) -> Place:
        """Where a device is."""
        device = self.devices[who]
        return Place(device.address, device.stream)

    def check(self) -> None:
        """What holds whatever was said."""
        held = self.service.now
        assert held.memory_bytes <= LIMITS.memory_bytes
        assert held.peers <= LIMITS.peers
        assert held.queue <= LIMITS.peers * LIMITS.frames_in_flight


def _raw(talk: Talk, said: Said) -> None:
    """Bytes as they are."""
    talk.devices[said.who].hand(Datagrams.packets([said.body]), now=talk.now)


def _own(talk: Talk, said: Said) -> None:
    """A packet of its session, sealed, whose other fields are from the bytes."""
    packet = said.body.ljust(HEADER_BYTES, b"\0")
    kind = Kind(1 + packet[3] % len(Kind))
    frame = int.from_bytes(packet[20:24], "little")
    fields = (int.from_bytes(packet[at : at + 2], "little") for at in range(24, 32, 2))
    device = talk.devices[said.who]
    header = Header(kind, 0, 0, frame, *fields)
    device.hand(device.one(header, packet[HEADER_BYTES:]), now=talk.now)


def _frame(talk: Talk, said: Said) -> None:
    """Packets of a frame as they should be: its number, which, how often and on which route."""
    number, which, how = (*said.body[:3], 0, 0, 0)[:3]
    route = (how >> 1) % len(talk.arrays)
    if said.who == STRANGER:
        return
    device = talk.devices[said.who]
    for _ in range(1 + how % 2):
        whole = device.packets(talk.arrays[route], number, route=route)
        rows = [row for row in range(len(whole)) if not which >> row & 1]
        device.hand(whole.take(rows), now=talk.now)


def _wait(talk: Talk, said: Said) -> None:
    """Time goes on."""
    talk.now += int.from_bytes(said.body[:2], "little") / 1000
    talk.service.due(talk.now)


def _run(talk: Talk, _: Said) -> None:
    """All tails run."""
    run_all(talk.service, talk.now)


def _fail(talk: Talk, said: Said) -> None:
    """A tail fails."""
    batch = talk.service.work.take(talk.now, quick=True)
    if batch is not None:
        talk.service.work.failed(batch, said.body.decode("latin-1"), talk.now)


def _greet(talk: Talk, said: Said) -> None:
    """A device comes anew."""
    device = talk.devices[said.who]
    if said.who != STRANGER and not talk.stopped:
        device.session = 0
        device.greet(talk.now)


def _lost(talk: Talk, said: Said) -> None:
    """Its connection is gone."""
    talk.service.lost(talk.place(said.who))


def _stop(talk: Talk, _: Said) -> None:
    """The server stops."""
    talk.stopped = True
    talk.service.stop()


COMMANDS: tuple[Callable[[Talk, Said], None], ...] = (
    _raw, _own, _frame, _wait, _run, _fail, _greet, _lost, _stop,
)  # fmt: skip


def conversations(data: bytes) -> None:
    """Any commands, to a server that wants a key where the first bit says so."""
    talk = Talk(KEY if data[:1] and data[0] & 1 else None)
    for said in commands(data[1:]):
        COMMANDS[said.what](talk, said)
        talk.check()
    for _ in range(3):
        # Every frame is closed by its deadline, and the silent are forgotten.
        talk.now += LIMITS.longest_deadline_s
        out = talk.service.due(talk.now) + run_all(talk.service, talk.now)
        assert _is_for(talk, out)
    assert talk.service.finished
    held = talk.service.now
    assert (held.peers, held.queue, held.memory_bytes) == (0, 0, 0)


def _is_for(talk: Talk, out: list[Outgoing]) -> bool:
    """Whether packets go to devices that had come."""
    known = {talk.place(who) for who in range(STRANGER)}
    return all(one.place in known for one in out)


def seeds() -> list[bytes]:
    """Conversations that make sense."""
    wait, run = Said(3, 0, b"\xff\0"), Said(4, 0, b"")
    everyone = [Said(2, who, b"\0\0\0") for who in range(STRANGER)]
    lost_some = [Said(2, who, b"\1\6\0") for who in range(STRANGER)]
    packets = [
        Said(1, who, write_header(Header(kind, frame=1, chunk=1)) + b"\xff" * 8)
        for kind in Kind
        for who in (0, 1)
    ]
    asked = Said(1, 1, write_header(Header(Kind.NACK, frame=0, chunks=1)) + b"\xff")
    talks = [
        [*everyone, run, asked, wait],
        [*lost_some, wait, run, *lost_some, asked],
        [*everyone, Said(5, 0, b"why"), Said(6, 0, b""), *everyone, run, Said(7, 2, b"")],
        [*packets, wait],
        [*everyone, Said(8, 0, b""), *lost_some, run],
        [Said(0, who, write_header(Header(kind))) for kind in Kind for who in (0, STRANGER)],
        [Said(2, 0, bytes([frame, 4, 1])) for frame in range(12)],
        [
            *(
                Said(2, who, bytes([frame, 4, 2 * frame]))
                for frame in range(4)
                for who in (0, 1, 2)
            ),
            wait,
            run,
            asked,
        ],
    ]
    return [bytes([k]) + b"".join(s.written() for s in one) for one in talks for k in (0, 1)]
