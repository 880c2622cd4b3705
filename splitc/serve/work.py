# SPDX-License-Identifier: Apache-2.0
"""Frames that were closed: they wait, run on their tail, and are answered or given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from splitc.arrays import Array
from splitc.errors import BadBundleError, one_line
from splitc.serve.journal import Journal
from splitc.serve.keep import Kept
from splitc.serve.measures import Measures
from splitc.serve.peer import Frame, Outgoing, Peer
from splitc.serve.peers import Peers
from splitc.serve.tails import Tail
from splitc.serve.waiting import Waiting
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import Kind
from splitc.wire.received import Received

NO_ROOM = "the server has no room for it"
"""What a device is told of a frame that was given up."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Frames that run together.

    Args:
        tail: What they run on.
        frames: They.
        started_s: When.
    """

    tail: Tail
    frames: Sequence[Frame]
    started_s: float

    def kept(self, results: Sequence[list[Array]]) -> Iterator[Kept]:
        """What became of each frame, to be kept here."""
        names = [spec.name for spec in self.tail.results]
        for frame, arrays in zip(self.frames, results, strict=True):
            yield Kept(
                self.tail.name, frame.owner.session, frame.received.frame, frame.received.share,
                dict(zip(names, arrays, strict=True)),
            )  # fmt: skip

    @property
    def inputs(self) -> list[list[Array]]:
        """Of each frame what the tail reads."""
        return [frame.received.arrays for frame in self.frames]


class Work:
    """The frames of all peers between the link and their answers.

    Args:
        peers: Whose they are.
        most: Frames of one peer that may wait, and answers of it that are kept.
        measures: Where they are counted.
        journal: Where failures are written.
    """

    def __init__(self, peers: Peers, most: int, measures: Measures, journal: Journal) -> None:
        self._peers = peers
        self._most = most
        self._measures = measures
        self._journal = journal
        self._quick: Waiting[Frame] = Waiting()
        self._slow: Waiting[Frame] = Waiting()
        self._running = 0

    def waiting(self, *, quick: bool) -> int:
        """How many wait for tails that are quick, or for those that are not."""
        return len(self._quick if quick else self._slow)

    @property
    def idle(self) -> bool:
        """Whether none waits and none runs."""
        return not (self._running or len(self._quick) or len(self._slow))

    def add(self, peer: Peer, frames: Sequence[Received], out: list[Outgoing]) -> None:
        """Frames that take no more packets wait for their tail."""
        assert peer.served is not None
        measures = self._measures
        for one in frames:
            measures.frames += 1
            measures.complete += one.why == "complete"
            measures.at_deadline += one.why == "deadline"
            measures.chunks += one.chunks
            measures.chunks_missing += one.chunks - one.came
            measures.stages["collect"].add(one.closed_s - one.first_s)
            nbytes = sum(array.nbytes for array in one.arrays)
            peer.in_tail_bytes += nbytes
            peer.waiting += 1
            frame = Frame(peer, peer.served.tails[one.route], one, nbytes)
            (self._quick if frame.tail.is_quick else self._slow).add(frame)
            if peer.waiting > self._most:
                self.give_up_oldest(peer, out)

    def take(self, now: float, *, quick: bool) -> Batch | None:
        """The frames to run next; `done` or `failed` has to follow.

        Args:
            now: The time.
            quick: Whether of tails that are quick, or of those that are not.

        Returns:
            They; None where none waits.
        """
        frames = (self._quick if quick else self._slow).take()
        if not frames:
            return None
        for frame in frames:
            frame.owner.waiting -= 1
            self._measures.stages["wait"].add(now - frame.received.closed_s)
        self._running += 1
        return Batch(frames[0].tail, frames, now)

    def done(self, batch: Batch, results: Sequence[list[Array]], now: float) -> list[Outgoing]:
        """Answer frames.

        Args:
            batch: What ran.
            results: Of each frame, the tail's.
            now: The time.
        """
        out: list[Outgoing] = []
        self._ran(batch, now)
        for frame, arrays in zip(batch.frames, results, strict=True):
            peer, one = frame.owner, frame.received
            if peer.gone:
                continue
            try:
                answer = peer.answers[one.route].pack(
                    arrays if batch.tail.answers else (), session=peer.session,
                    split=peer.hello.split, frame=one.frame, route=one.route, share=one.share,
                )  # fmt: skip
            except BadBundleError as error:
                self._fail(frame, one_line(error), now, out)
                continue
            self._measures.answers += 1
            self._measures.routes[frame.tail.name] += 1
            if peer.hello.wants_reports:
                out.append(peer.report(one, batch.started_s, now))
            self._answer(frame, answer, now, out)
        return out

    def failed(self, batch: Batch, why: str, now: float) -> list[Outgoing]:
        """Tell the devices of frames why their tail failed."""
        out: list[Outgoing] = []
        self._ran(batch, now)
        for frame in batch.frames:
            self._fail(frame, why, now, out)
        text = f"{batch.tail.name} failed on {len(batch.frames)} frame(s): {why}"
        self._journal("failed", text, tail=batch.tail.name, why=why)
        return out

    def _ran(self, batch: Batch, now: float) -> None:
        self._running -= 1
        self._measures.calls += 1
        self._measures.stages["tail"].add(now - batch.started_s)

    def _fail(self, frame: Frame, why: str, now: float, out: list[Outgoing]) -> None:
        peer, one = frame.owner, frame.received
        if not peer.gone:
            self._measures.failed += 1
            self._answer(frame, peer.packet(Kind.FAIL, one.frame, one.route, why), now, out)

    def _answer(self, frame: Frame, packets: Datagrams, now: float, out: list[Outgoing]) -> None:
        peer, one = frame.owner, frame.received
        deadline_s = one.extra / 1000 if one.extra else peer.deadline_s
        self._measures.late += now > one.first_s + deadline_s
        outgoing = peer.to(packets)
        out.append(outgoing)
        peer.in_tail_bytes -= frame.nbytes
        peer.keep(one.frame, outgoing.packets, self._most)
        self._peers.settle(peer)

    def give_up_oldest(self, peer: Peer, out: list[Outgoing]) -> bool:
        """Give up a peer's frame that has waited longest for its tail; whether there was one."""
        frame = self._slow.drop_oldest(peer) or self._quick.drop_oldest(peer)
        if frame is None:
            return False
        peer.waiting -= 1
        self._measures.evicted_frames += 1
        self._fail(frame, NO_ROOM, frame.received.closed_s, out)
        return True

    def forget(self, peer: Peer) -> None:
        """Drop the frames of a peer that is not there any more."""
        for waiting in (self._quick, self._slow):
            for _ in waiting.drop(peer):
                peer.waiting -= 1
