# SPDX-License-Identifier: Apache-2.0
"""Frames put together from packets that come in any order, twice, late, altered or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.wire.datagrams import Datagrams
from splitc.wire.frame import Frame, Layout, Patience
from splitc.wire.header import HEADER_BYTES, Header, Kind, Transport, read_header
from splitc.wire.nack import NOTHING_CAME, Gap, missing_bits
from splitc.wire.parity import Parity
from splitc.wire.received import Counters, Received, Why
from splitc.wire.window import Verdict, Window

WINDOW = 64
IN_FLIGHT = 8


class Assembly:
    """Puts the frames of one session together, in bounded memory; docs/wire.md has the rules.

    It holds no more than `in_flight` frames, and takes memory for a frame when its first packet
    comes. Nothing that comes makes it raise.

    Args:
        layouts: How frames lie in chunks, by the index of their route.
        session: The session's number: packets of others are dropped.
        split: `split_id` of the bundle: packets of others are dropped.
        kind: What it puts together: DATA or ANSWER.
        transport: What is done about lost packets.
        deadline_s: Seconds after its first packet that a frame is closed at the latest.
        grace_s: Seconds without a packet after which what is missing counts as lost.
        window: Frames back from the newest that packets are taken of.
        in_flight: Frames that are put together at once; the first is closed for one more.
        parity_percent: Parity packets for each 100, with `Transport.PARITY`.
        loss_rate: p of scale "rate", in [0, 1); None takes what it sees itself.

    Raises:
        UsageError: A number is out of its range.
        ToolchainError: The transport is parity, and `zfec` is not installed.
    """

    def __init__(
        self,
        layouts: Mapping[int, Layout],
        *,
        session: int,
        split: int,
        kind: Kind = Kind.DATA,
        transport: Transport = Transport.UDP,
        deadline_s: float,
        grace_s: float,
        window: int = WINDOW,
        in_flight: int = IN_FLIGHT,
        parity_percent: int = 0,
        loss_rate: float | None = None,
    ) -> None:
        if loss_rate is not None and not 0 <= loss_rate < 1:
            raise UsageError(f"loss_rate {loss_rate:g} is not in [0, 1)")
        if window < 1 or in_flight < 1:
            raise UsageError(f"window {window} and in_flight {in_flight} are not both above 0")
        self.counters = Counters()
        self.bytes_held = 0
        self._layouts = layouts
        self._session, self._split, self._kind = session, split, kind
        self._transport = transport
        self._deadline_s, self._grace_s = deadline_s, grace_s
        self._window = Window(window)
        self._in_flight = in_flight
        self._told = loss_rate
        self._open: dict[int, Frame] = {}
        self._skipped: dict[int, Patience] = {}
        self._parity: dict[int, Parity] = {}
        if transport == Transport.PARITY:
            self._parity = {
                route: Parity(layout.chunks, layout.payload_bytes, parity_percent)
                for route, layout in layouts.items()
            }

    @property
    def newest(self) -> int:
        """Number of the newest frame that a packet was taken of; -1 before the first."""
        return self._window.newest

    @property
    def loss_rate(self) -> float:
        """p: the share of chunks lost, as told or as seen in the frames that were closed."""
        if self._told is not None:
            return self._told
        return self.counters.missing / max(self.counters.expected, 1)

    def add(self, datagrams: Datagrams, now: float) -> list[Received]:
        """Take packets, opened where they were sealed.

        What is due is not closed here: a receiver that was busy takes first what came meanwhile.

        Args:
            datagrams: The packets, which are copied.
            now: Seconds on a clock that does not go back.

        Returns:
            The frames that they closed, in that order.
        """
        if len(datagrams) and datagrams.lengths.min() < HEADER_BYTES:
            whole = datagrams.lengths >= HEADER_BYTES
            self.counters.malformed += int(np.count_nonzero(~whole))
            datagrams = datagrams.take(whole)
        closed: list[Received] = []
        for run in _runs(datagrams):
            header = read_header(run.packet(0))
            if header is None:
                self.counters.malformed += len(run)
            elif header.session != self._session or header.split != self._split:
                self.counters.foreign += len(run)
            else:
                self._take_run(header, run, now, closed)
        return closed

    def due(self, now: float) -> list[Received]:
        """Close the frames whose time is up; gives them in the order in which they began."""
        closed: list[Received] = []
        for number, frame in list(self._open.items()):
            deadline_s, grace_s = frame.first_s + frame.deadline_s, self._over_s(number, frame)
            if grace_s is not None and grace_s <= deadline_s and now >= grace_s:
                self._close(number, "grace", now, closed)
            elif now >= deadline_s:
                self._close(number, "deadline", now, closed)
        return closed

    def next_due(self) -> float | None:
        """When `due` or `gaps` has something to do next; None while nothing is waited for."""
        times = [patience.due_s for patience in self._skipped.values()]
        for number, frame in self._open.items():
            times.append(frame.first_s + frame.deadline_s)
            over_s = self._over_s(number, frame)
            if over_s is not None:
                times.append(over_s)
            if self._transport == Transport.RESEND:
                times.append(frame.patience.due_s)
        return min(times, default=None)

    def gaps(self, now: float) -> list[Gap]:
        """What to ask the sender for now: with `Transport.RESEND`, after `grace_s` of silence."""
        if self._transport != Transport.RESEND:
            return []
        found: list[Gap] = []
        for number, patience in list(self._skipped.items()):
            if now >= patience.begun_s + self._deadline_s:
                del self._skipped[number]
            elif now >= patience.due_s:
                patience.asked(now)
                found.append(Gap(number, 0, 0, NOTHING_CAME))
        for number, frame in self._open.items():
            if now >= frame.patience.due_s:
                frame.ask(now)
                chunks = len(frame.came)
                found.append(Gap(number, frame.route, chunks, missing_bits(frame.came)))
        return found

    def ended(self, number: int, route: int, now: float) -> list[Received]:
        """Note that a frame's sender says it has sent all of it.

        One of which nothing came begins now, so that it is answered too.

        Args:
            number: The frame's.
            route: Its route.
            now: Seconds on the same clock.

        Returns:
            The frames that it closed, to make room.
        """
        closed: list[Received] = []
        if number not in self._open:
            if route not in self._layouts or self._window.judge(number) != Verdict.TAKE:
                return closed
            header = Header(self._kind, self._session, self._split, number, route)
            self._begin(header, now, closed)
        self._open[number].ended = True
        return closed

    def drop_oldest(self) -> tuple[int, int] | None:
        """Close the frame that began first, unread, for its memory.

        Returns:
            Its number and route; None where no frame is open.
        """
        if not self._open:
            return None
        number = next(iter(self._open))
        frame = self._forget(number)
        self.counters.pushed += 1
        return number, frame.route

    def _over_s(self, number: int, frame: Frame) -> float | None:
        """When a frame counts as over; None while more of it is on the way."""
        if self._transport not in (Transport.UDP, Transport.PARITY):
            return None
        ended = frame.ended or number < self._window.newest
        return frame.last_s + self._grace_s if ended else None

    def _take_run(self, header: Header, run: Datagrams, now: float, closed: list[Received]) -> None:
        """Take packets that agree in all of their headers but the number of the chunk."""
        layout = self._layouts.get(header.route)
        fits = layout is not None and header.chunks == layout.chunks
        parity = self._parity.get(header.route) if header.kind == Kind.PARITY else None
        if layout is None or not fits or (header.kind != self._kind and parity is None):
            self.counters.malformed += len(run)
            return
        numbers = run.headers["chunk"].astype(np.intp)
        right = _right(header, layout, parity, numbers, run.lengths - HEADER_BYTES)
        if not right.all():
            self.counters.malformed += int(np.count_nonzero(~right))
            run, numbers = run.take(right), numbers[right]
        verdict = self._window.judge(header.frame) if len(run) else Verdict.STALE
        if verdict == Verdict.JUMP:
            self.counters.jump += 1
            run, numbers = run.take(slice(1, None)), numbers[1:]
            verdict = self._window.judge(header.frame) if len(run) else Verdict.STALE
        if verdict == Verdict.STALE:
            self.counters.stale += len(run)
        elif verdict == Verdict.LATE:
            self.counters.late += len(run)
        else:
            self._put(header, numbers, run.block[:, HEADER_BYTES:], now, closed)

    def _put(
        self, header: Header, numbers: NDArray[np.intp], payloads: NDArray[np.uint8], now: float,
        closed: list[Received],
    ) -> None:  # fmt: skip
        """Put right packets of one frame where they belong."""
        frame = self._open.get(header.frame) or self._begin(header, now, closed)
        if frame.route != header.route:
            self.counters.malformed += len(numbers)
            return
        if header.kind == Kind.PARITY:
            taken = frame.take_parity(numbers, payloads, now)
            self.counters.parity += taken.new
        else:
            if frame.extra is None:
                self._told_extra(frame, header.extra)
            taken = frame.take(numbers, payloads, now)
            self.counters.chunks += taken.new
        self.counters.duplicate += len(numbers) - taken.new
        if frame.complete:
            # What stands behind the packet that completed the frame came after it was closed.
            self.counters.duplicate -= taken.behind
            self.counters.late += taken.behind
            self._close(header.frame, "complete", now, closed)

    def _begin(self, header: Header, now: float, closed: list[Received]) -> Frame:
        """A new frame; the one that began first makes room."""
        if len(self._open) >= self._in_flight:
            self._close(next(iter(self._open)), "pushed", now, closed)
        layout = self._layouts[header.route]
        begun = self._window.begin(header.frame)
        self.counters.missing += len(begun.left) * layout.chunks
        self.counters.expected += len(begun.left) * layout.chunks
        if self._transport == Transport.RESEND:
            for number in (header.frame, *begun.left):
                self._skipped.pop(number, None)
            self._skipped |= {each: Patience(now, self._grace_s) for each in begun.skipped}
        parity = self._parity.get(header.route)
        frame = Frame(layout, header.route, parity, now, self._grace_s, self._deadline_s)
        self._open[header.frame] = frame
        self.bytes_held += frame.nbytes
        return frame

    def _told_extra(self, frame: Frame, extra: int) -> None:
        frame.extra = extra
        if extra and self._kind == Kind.DATA:
            frame.deadline_s = extra / 1000

    def _forget(self, number: int) -> Frame:
        """Take a frame out, and count what it lacks."""
        frame = self._open.pop(number)
        self._window.close(number)
        self.bytes_held -= frame.nbytes
        self.counters.recovered += frame.recover()
        self.counters.expected += len(frame.came)
        self.counters.missing += len(frame.came) - frame.count
        return frame

    def _close(self, number: int, why: Why, now: float, closed: list[Received]) -> None:
        frame = self._forget(number)
        setattr(self.counters, why, getattr(self.counters, why) + 1)
        arrays, share = frame.layout.unpack(frame.rows, frame.came, self.loss_rate)
        received = Received(
            number, frame.route, arrays, share, frame.count, frame.computed, len(frame.came),
            frame.extra or 0, frame.first_s, now, why, frame.spread,
        )  # fmt: skip
        closed.append(received)


def _right(
    header: Header, layout: Layout, parity: Parity | None, numbers: NDArray[np.intp],
    sizes: NDArray[np.int64],
) -> NDArray[np.bool_]:  # fmt: skip
    """Which packets of a frame there can be, by their numbers and sizes [n]."""
    if parity is not None:
        right = (numbers < parity.blocks) & (sizes == layout.payload_bytes)
        return right & (header.extra == parity.percent)
    if numbers.max() < layout.chunks:
        return sizes == layout.sizes[numbers]
    right = numbers < layout.chunks
    return right & (sizes == layout.sizes[np.where(right, numbers, 0)])


def _runs(datagrams: Datagrams) -> Iterator[Datagrams]:
    """Packets one after another that agree in all of their headers but the number of the chunk."""
    if len(datagrams) < 2:
        if len(datagrams):
            yield datagrams
        return
    words = datagrams.block[:, :HEADER_BYTES].view("<u8")
    differs = words[1:] ^ words[:-1]
    differs[:, 3] &= _ALL_BUT_CHUNK
    if not differs.any():
        yield datagrams
        return
    starts = np.flatnonzero(differs.any(axis=1)) + 1
    bounds = [0, *starts.tolist(), len(datagrams)]
    for first, last in pairwise(bounds):
        yield datagrams.take(slice(first, last))


_ALL_BUT_CHUNK = np.uint64(0xFFFF_FFFF_0000_FFFF)
"""Of the header's last 8 bytes: route, chunk, chunks, extra."""
