# SPDX-License-Identifier: Apache-2.0
"""A receiver under any sequence of packets, right, altered, replayed, foreign, against a plain one.

Blocks of packets go to `Assembly`, the same packets one by one to the plain receiver: frames,
reasons, values, counters and what is asked for must be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from splitc.link.packets import element_order
from splitc.runtime.manifest import Missing
from splitc.wire.assembly import Assembly
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import Transport
from splitc.wire.nack import missing_rows
from splitc.wire.received import Received
from splitc.wire.seal import Seal
from tests.wire.plain import Closed, Receiver
from tests.wire.test_boundary import spec, values

SESSION, SPLIT, SEED, PAYLOAD = 11, 22, 3, 24
SPECS = {0: [spec("float32", 1, 17), spec("uint8", 5)], 2: [spec("uint8", 60)]}
DEADLINE_S, GRACE_S = 0.5, 0.125
KEY = bytes(range(32))


def boundaries() -> dict[int, Boundary]:
    none = Missing(scale="none")
    return {
        route: Boundary(specs, PAYLOAD, SEED, [none] * len(specs)) for route, specs in SPECS.items()
    }


class ReceiverMachine(RuleBasedStateMachine):
    """Opened packets: what a receiver without a key sees."""

    def __init__(self) -> None:
        super().__init__()
        self.boundaries = boundaries()
        self.now = 1.0
        self.next_frame = 0
        self.wire: list[bytes] = []
        self.closed: list[Received] = []
        self.wanted: list[Closed] = []

    @initialize(
        transport=st.sampled_from([Transport.UDP, Transport.RESEND, Transport.TCP]),
        window=st.sampled_from([2, 4, 64]), in_flight=st.sampled_from([1, 2, 8]),
    )  # fmt: skip
    def begin(self, transport: Transport, window: int, in_flight: int) -> None:
        rules: dict[str, Any] = {
            "transport": transport, "deadline_s": DEADLINE_S, "grace_s": GRACE_S,
            "window": window, "in_flight": in_flight, "session": SESSION, "split": SPLIT,
        }  # fmt: skip
        self.assembly = Assembly(self.boundaries, **rules)
        sizes = {route: one.sizes.tolist() for route, one in self.boundaries.items()}
        self.plain = Receiver(sizes, **rules)
        self.held = in_flight * max(one.chunks * PAYLOAD for one in self.boundaries.values())

    def sealed(self, packets: Datagrams) -> Datagrams:
        return packets

    def opened(self, packets: Datagrams) -> tuple[Datagrams, list[bytes]]:
        """What reaches the receiver, and what of it reaches the plain one."""
        return packets, [bytes(packets.packet(k)) for k in range(len(packets))]

    @rule(
        route=st.sampled_from([0, 2]), skip=st.sampled_from([0, 0, 0, 1, 3, 70]),
        extra=st.sampled_from([0, 0, 250]), session=st.sampled_from([SESSION] * 4 + [12]),
        split=st.sampled_from([SPLIT] * 4 + [23]), fill=st.integers(1, 255),
    )  # fmt: skip
    def send(self, route: int, skip: int, extra: int, session: int, split: int, fill: int) -> None:
        """A frame is on its way: of this session or an old one, of this bundle or another."""
        self.next_frame += skip
        arrays = [np.full_like(values(one), fill) for one in SPECS[route]]
        packets = self.boundaries[route].pack(
            arrays, session=session, split=split, frame=self.next_frame, route=route, extra=extra
        )
        self.next_frame += 1
        sent = self.sealed(packets)
        self.wire += [bytes(sent.packet(k)) for k in range(len(sent))]

    def deliver(self, packets: Sequence[bytes]) -> None:
        if not packets:
            return
        came, plain = self.opened(Datagrams.packets(packets))
        self.closed += self.assembly.add(came, self.now)
        for packet in plain:
            self.wanted += self.plain.packet(packet, self.now)

    @rule(count=st.integers(1, 12))
    def in_order(self, count: int) -> None:
        """The next packets come, all at once."""
        self.deliver(self.wire[:count])
        del self.wire[:count]

    @rule(count=st.integers(1, 12))
    def lose(self, count: int) -> None:
        """The next packets do not come."""
        del self.wire[:count]

    @rule(data=st.data(), keep=st.booleans())
    def out_of_order(self, data: st.DataObject, keep: bool) -> None:
        """Some packets come in any order, more than once perhaps, and perhaps again later."""
        if self.wire:
            places = st.lists(st.integers(0, len(self.wire) - 1), min_size=1, max_size=10)
            chosen = data.draw(places)
            self.deliver([self.wire[place] for place in chosen])
            if not keep:
                self.wire = [p for k, p in enumerate(self.wire) if k not in chosen]

    @rule(data=st.data(), bit=st.integers(0, 8 * 64 - 1), cut=st.integers(0, 60))
    def altered(self, data: st.DataObject, bit: int, cut: int) -> None:
        """A packet comes with a bit flipped, and one that was cut, among right ones."""
        if self.wire:
            place = data.draw(st.integers(0, len(self.wire) - 1))
            flipped = bytearray(self.wire[place])
            flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8
            self.deliver([self.wire[0], bytes(flipped), self.wire[place][:cut], self.wire[-1]])

    @rule(noise=st.lists(st.binary(max_size=70), min_size=1, max_size=3))
    def noise(self, noise: list[bytes]) -> None:
        """Packets that nobody of us made."""
        self.deliver(noise)

    @rule(ticks=st.integers(1, 40))
    def wait(self, ticks: int) -> None:
        """Time goes by."""
        self.now += ticks / 64
        self.closed += self.assembly.due(self.now)
        self.wanted += self.plain.due(self.now)

    @rule()
    def ask(self) -> None:
        """The receiver asks for what it lacks."""
        asked: list[tuple[int, set[int] | None]] = [
            (gap.frame, {*missing_rows(gap.bitmap, gap.chunks).tolist()} if gap.chunks else None)
            for gap in self.assembly.gaps(self.now)
        ]
        assert asked == self.plain.gaps(self.now)

    @rule(data=st.data(), route=st.sampled_from([0, 2, 9]), far=st.sampled_from([0, 0, 90]))
    def told_that_all_was_sent(self, data: st.DataObject, route: int, far: int) -> None:
        """The sender says that it is through with a frame, of which nothing may have come."""
        frame = data.draw(st.integers(0, self.next_frame)) + far
        self.closed += self.assembly.ended(frame, route, self.now)
        self.wanted += self.plain.all_was_sent(frame, route, self.now)

    @invariant()
    def the_same_frames_were_closed_for_the_same_reasons(self) -> None:
        assert len(self.closed) == len(self.wanted)
        for got, wanted in zip(self.closed, self.wanted, strict=True):
            assert (got.frame, got.route, got.why) == wanted[:3]
            assert (got.came, got.extra) == (len(wanted.chunks), wanted.extra)
            assert (got.spread, got.computed) == (wanted.spread, 0)
            assert b"".join(array.tobytes() for array in got.arrays) == tensors(wanted)
        self.closed.clear()
        self.wanted.clear()

    @invariant()
    def counters_and_memory_are_as_told(self) -> None:
        told = {k: v for k, v in vars(self.assembly.counters).items() if v}
        assert told == {k: v for k, v in self.plain.count.items() if v}
        assert self.assembly.newest == self.plain.newest
        frames = self.plain.open.values()
        held = sum(self.boundaries[one.route].chunks * PAYLOAD for one in frames)
        assert self.assembly.bytes_held == held <= self.held

    @invariant()
    def it_says_when_it_wants_to_be_asked_again(self) -> None:
        times = [s for n, one in self.plain.open.items()
                 for s in (one.first_s + one.deadline_s, self.plain.over_s(n))]  # fmt: skip
        if self.plain.transport == Transport.RESEND:
            times += [one.asked_s + one.wait_s for one in self.plain.open.values()]
            times += [asked_s + wait_s for _, asked_s, wait_s in self.plain.skipped.values()]
        finite = [s for s in times if s < float("inf")]
        assert self.assembly.next_due() == min(finite, default=None)


def tensors(closed: Closed) -> bytes:
    """What the chunks of a frame that came give, zeros elsewhere: one element after another."""
    made, chunk = b"", 0
    for one in SPECS[closed.route]:
        size = np.dtype(one.dtype).itemsize
        count, each = one.bytes // size, PAYLOAD // size
        elements = [bytes(size)] * count
        for place, element in enumerate(element_order(count, SEED).tolist()):
            data = closed.chunks.get(chunk + place // each)
            if data is not None:
                start = place % each * size
                elements[element] = data[start : start + size]
        made += b"".join(elements)
        chunk += -(-count // each)
    return made


class SealedMachine(ReceiverMachine):
    """Sealed packets: only what was sealed bit for bit like this reaches the receiver."""

    def __init__(self) -> None:
        super().__init__()
        self.seal = Seal(KEY)
        self.known: dict[bytes, bytes] = {}

    def sealed(self, packets: Datagrams) -> Datagrams:
        plain = [bytes(packets.packet(k)) for k in range(len(packets))]
        # Other sessions have other keys.
        foreign = packets.headers["session"][0] != SESSION
        made = (Seal(bytes(32)) if foreign else self.seal).seal(packets)
        if not foreign:
            self.known |= {bytes(made.packet(k)): plain[k] for k in range(len(plain))}
        return made

    def opened(self, packets: Datagrams) -> tuple[Datagrams, list[bytes]]:
        came = [bytes(packets.packet(k)) for k in range(len(packets))]
        right = [self.known[packet] for packet in came if packet in self.known]
        opened, bad = self.seal.open(packets)
        assert bad == len(came) - len(right)
        return opened, right


quick = settings(max_examples=80, stateful_step_count=40, deadline=None)

TestReceiver = ReceiverMachine.TestCase
TestReceiver.settings = quick


@pytest.mark.skipif(find_spec("cryptography") is None, reason="needs the extra 'serve'")
class TestSealedReceiver(SealedMachine.TestCase):
    settings = quick
