# SPDX-License-Identifier: Apache-2.0
"""One device's session as the server has it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from splitc.policy.gauge import Report
from splitc.serve.tails import Hosted, Tail
from splitc.wire.answers import Answers
from splitc.wire.assembly import Assembly
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Hello
from splitc.wire.header import HEADER_BYTES, IP_UDP_BYTES, Header, Kind
from splitc.wire.nack import Gap
from splitc.wire.probe import Echoes
from splitc.wire.received import Received
from splitc.wire.report import report_packet
from splitc.wire.seal import Seals

_UNUSED = ("duplicate", "stale", "late", "jump", "malformed", "foreign")
"""Counters of an assembly that are of packets which it dropped."""


class Place(NamedTuple):
    """Where a peer is.

    Args:
        address: Its socket's, as the carrier gives it.
        stream: The connection that its packets come over, where they come over one.
    """

    address: bytes
    stream: Hashable | None = None


class Outgoing(NamedTuple):
    """Packets to hand to the network, and whom they are for."""

    packets: Datagrams
    place: Place


@dataclass(slots=True, eq=False)
class Frame:
    """A frame that was closed and waits for its tail, or is in it.

    Args:
        owner: Whose it is.
        tail: What it runs on.
        received: What came of it.
        nbytes: Of its tensors.
    """

    owner: Peer
    tail: Tail
    received: Received
    nbytes: int


class Peer:
    """A session.

    Args:
        session: Its number.
        place: Where its packets come from; others with its number are not its own.
        hello: What its device asked for.
        served: The bundle that it has the head of; None where it only measures the link.
        assembly: What becomes of its packets of data; None with `served`.
        answers: How answers to it are cut into packets, by route.
        welcome: What began it, to be said again where it was lost.
        seals: What seals its packets and those for it.
        tag_bytes: What sealing adds to a packet.
        deadline_s: After its first packet, until a frame is closed.
        now: When it began.
    """

    def __init__(
        self,
        session: int,
        place: Place,
        hello: Hello,
        served: Hosted | None,
        assembly: Assembly | None,
        answers: Mapping[int, Answers],
        *,
        welcome: Outgoing,
        seals: Seals,
        tag_bytes: int,
        deadline_s: float,
        now: float,
    ) -> None:
        self.session = session
        self.place = place
        self.served = served
        self.assembly = assembly
        self.hello = hello
        self.answers = answers
        self.welcome = welcome
        self.deadline_s = deadline_s
        self.heard_s = now
        self.echoes = Echoes()
        self.answered = 0
        self.gone = False
        self.waiting = 0
        self.in_tail_bytes = 0
        # What `Peers` has noted of it.
        self.alarm_s = float("inf")
        self.counted = 0
        self._seals = seals
        self._overhead_bytes = HEADER_BYTES + tag_bytes + IP_UDP_BYTES
        self._kept: OrderedDict[int, Datagrams] = OrderedDict()
        self._kept_bytes = 0
        self._asked = 0

    @property
    def held(self) -> int:
        """Bytes of its frames and answers in memory."""
        collecting = self.assembly.bytes_held if self.assembly is not None else 0
        return collecting + self.in_tail_bytes + self._kept_bytes

    @property
    def next_due(self) -> float | None:
        """When time alone does something to its frames."""
        return self.assembly.next_due() if self.assembly is not None else None

    @property
    def dropped(self) -> dict[str, int]:
        """Its packets of data that were not used, by the reason."""
        if self.assembly is None:
            return {}
        counters = self.assembly.counters
        return {name: n for name in _UNUSED if (n := getattr(counters, name))}

    def open(self, packets: Datagrams) -> tuple[Datagrams, int]:
        """Those of its packets that it sealed, opened, and how many it did not."""
        return self._seals.device.open(packets)

    def to(self, packets: Datagrams) -> Outgoing:
        """Packets for it, sealed."""
        return Outgoing(self._seals.server.seal(packets), self.place)

    def packet(self, kind: Kind, frame: int = 0, route: int = 0, text: str = "") -> Datagrams:
        """One packet for it, with some text in it."""
        header = Header(kind, self.session, self.hello.split, frame, route)
        return Datagrams.of(header, text.encode()[: self.hello.payload_bytes])

    def keep(self, frame: int, answer: Datagrams, most: int) -> None:
        """Keep an answer as it was sent, to send of it what is lost; the oldest make room."""
        self.answered += 1
        self._kept[frame] = answer
        self._kept_bytes += answer.block.nbytes
        while len(self._kept) > most:
            self.forget_answer()

    def forget_answer(self) -> bool:
        """Forget the oldest answer; whether there was one."""
        if not self._kept:
            return False
        _, answer = self._kept.popitem(last=False)
        self._kept_bytes -= answer.block.nbytes
        return True

    def kept(self, frame: int) -> Datagrams | None:
        """The answer to a frame, if it is kept."""
        return self._kept.get(frame)

    def ask(self, gap: Gap) -> Outgoing:
        """The NACK for what is missing of a frame."""
        self._asked += 1
        return self.to(gap.packet(self.session, self.hello.split, self._asked))

    def report(self, one: Received, started_s: float, done_s: float) -> Outgoing:
        """What became of a frame of it.

        Args:
            one: The frame.
            started_s: When its tail began.
            done_s: When that was done.
        """
        spread = one.spread
        report = Report(
            spread_s=spread.seconds,
            spread_bytes=spread.payload_bytes + spread.packets * self._overhead_bytes,
            wait_s=started_s - one.closed_s,
            tail_s=done_s - started_s,
            came=one.came - one.computed,
            chunks=one.chunks,
        )
        packet = report_packet(
            report, session=self.session, split=self.hello.split, frame=one.frame, route=one.route
        )
        return self.to(packet)
