# SPDX-License-Identifier: Apache-2.0
"""One session with a server: frames cut, sealed and asked for, answers put together.

No socket and no clock: times are seconds that the caller says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splitc.arrays import Array
from splitc.errors import DeviceError, SplitcError
from splitc.link.packets import payload_bytes
from splitc.send.delay import Delay
from splitc.send.outbox import Outbox
from splitc.send.settings import Settings
from splitc.send.steering import Steering
from splitc.send.tally import Counters
from splitc.send.trains import Trains
from splitc.send.way import Way
from splitc.send.window import Flight, Window
from splitc.wire.answers import WHOLE_SHARE, Answers
from splitc.wire.assembly import Assembly
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Welcome
from splitc.wire.header import HEADER_BYTES, MAGIC, VERSION, Header, Kind, Transport
from splitc.wire.nack import NOTHING_CAME, Gap, missing_rows
from splitc.wire.probe import read_echoes
from splitc.wire.report import read_report
from splitc.wire.seal import seals_of

_TAIL_S = 0.05
"""What a tail is taken to need while nothing was measured: a question too early costs little."""
_LAST_FRAME = 2**32 - 2
_TAKEN = (Kind.ANSWER, Kind.REPORT, Kind.ECHO)
_GREETINGS = (Kind.HELLO, Kind.CHALLENGE, Kind.WELCOME)


@dataclass(frozen=True)
class Outcome:
    """What became of a frame.

    Args:
        ticket: The device's number of it.
        arrays: What the server's tail made; None where it made nothing.
        share: Of the boundary's elements, how many the server had.
        left_s: When the frame's last packet left; None while some waited.
        done_s: When this was known.
        error: Why there is no answer.
        silent: Whether that is because none came.
    """

    ticket: int
    arrays: list[Array] | None
    share: float
    left_s: float | None
    done_s: float
    error: SplitcError | None = None
    silent: bool = False


def given_up(
    flight: Flight, limit_s: float, now: float, refused: SplitcError | None = None
) -> Outcome:
    """What becomes of a frame that nobody answered.

    Args:
        flight: The frame.
        limit_s: How long it waited.
        now: Seconds.
        refused: What the server said meanwhile.
    """
    error = refused or DeviceError(
        f"the server did not answer within {limit_s:g} s",
        hint="is it running, and does the network let its packets through? See --silent-after",
    )
    return Outcome(flight.ticket, None, 0.0, flight.left_s, now, error, silent=True)


def _gap_s(settings: Settings) -> float:
    """How far apart packets leave that are paced; 0 where they are not. Seconds."""
    return 0.0 if settings.bandwidth_bps is None else settings.mtu * 8 / settings.bandwidth_bps


class Talk:
    """A session that a server has welcomed.

    Args:
        steering: The routes, and what picks among them, which is told what is measured.
        split: What stands for the split in packets.
        settings: How to send.
        welcome: What the server said.
        key: The key that both share; None without one.
        rtt_s: Seconds that packets take there and back, as far as that is known.
        outbox: Where packets leave by.
        counters: Where what happens is counted.
    """

    def __init__(
        self,
        steering: Steering,
        split: int,
        settings: Settings,
        welcome: Welcome,
        key: bytes | None,
        rtt_s: float,
        outbox: Outbox,
        counters: Counters,
    ) -> None:
        size = payload_bytes(settings.mtu)
        self._steering, self._split, self._settings = steering, split, settings
        self._session = welcome.session
        self._outbox, self._counters = outbox, counters
        self._ways = {
            remote.route: Way.of(remote, size, welcome.order_seed, settings)
            for remote in steering.remotes
        }
        self._asks = settings.transport != "tcp"
        self._answers = Assembly(
            {remote.route: Answers(remote.results, size) for remote in steering.remotes},
            session=welcome.session,
            split=split,
            kind=Kind.ANSWER,
            transport=Transport.RESEND if self._asks else Transport.TCP,
            deadline_s=settings.silent_after_s,
            grace_s=settings.grace_s,
            in_flight=settings.in_flight,
        )
        self._seals = seals_of(key, welcome.client_nonce, welcome.server_nonce)
        tail_s = min(_TAIL_S, settings.deadline_s / 2)
        first_s, least_s = 2 * rtt_s + tail_s + settings.grace_s, max(settings.grace_s, 1e-3)
        self._window = Window(
            settings.deadline_s,
            settings.silent_after_s,
            lambda: Delay(first_s, least_s),
            rtt_s,
            asks=self._asks,
            trickles=_gap_s(settings) > settings.grace_s,
        )
        self._most = min(settings.in_flight, max(welcome.frames_in_flight, 1))
        self._trains = Trains(welcome.session, split, size, sealed=key is not None)
        self._may_probe, self._packets = True, 0
        self._next = self._questions = 0
        self.over = False
        """Whether the server has ended it, or knows nothing of it."""
        self.silent = False
        """Whether a frame was given up since whose beginning nothing came."""
        self._heard_s = float("-inf")
        self._dropped = 0, 0

    @property
    def room(self) -> bool:
        """Whether another frame may be begun."""
        return len(self._window) < self._most and not self.over

    def begin(self, flight: Flight, now: float) -> None:
        """Cut a frame and queue its packets."""
        self._probe(now)
        flight.frame, self._next = self._next, self._next + 1
        way = self._ways[flight.route]
        self._may_probe, self._packets = True, way.boundary.chunks
        packed = way.boundary.pack(
            flight.arrays, session=self._session, split=self._split, frame=flight.frame,
            route=flight.route,
        )  # fmt: skip
        more = [] if way.parity is None else [way.parity.pack(packed)]
        sealed = [self._sealed(part) for part in (packed, *more)]
        flight.data = sealed[0]
        self._window.begin(flight)
        for part in sealed[:-1]:
            self._outbox.frame(flight.frame, part)
        left = self._window.left
        self._outbox.frame(flight.frame, sealed[-1], lambda now: left(flight, now))
        # The last number is never used: no two packets of a session may have one nonce.
        self.over = self._next > _LAST_FRAME

    def take(self, datagrams: Datagrams, now: float) -> list[Outcome]:
        """What became of frames by packets that came."""
        opened = self._opened(self._ours(datagrams))
        if not len(opened):
            return []
        self._heard_s = now
        kinds = opened.headers["kind"]
        answers = kinds == Kind.ANSWER
        if answers.all():
            return self._answered(opened, now)
        # What is said of a frame stands before its answer.
        for row in np.flatnonzero(kinds == Kind.REPORT).tolist():
            self._reported(opened.take(slice(row, row + 1)), now)
        outcomes = self._answered(opened.take(answers), now) if answers.any() else []
        self._trains.take(read_echoes(opened.take(kinds == Kind.ECHO)), now)
        for row in np.flatnonzero(~np.isin(kinds, _TAKEN)).tolist():
            outcomes += self._message(opened.take(slice(row, row + 1)), now)
        return outcomes

    def _ours(self, datagrams: Datagrams) -> Datagrams:
        """Packets of this session; a refusal of it ends it, nobody can sign one."""
        counters = self._counters
        long = datagrams.lengths >= HEADER_BYTES
        if datagrams.block.shape[1] < HEADER_BYTES or not long.any():
            counters.malformed += len(datagrams)
            return Datagrams.packets([])
        headers = datagrams.headers
        ours = long & (headers["magic"] == MAGIC) & (headers["version"] == VERSION)
        greetings = np.isin(headers["kind"], _GREETINGS)
        ours &= (headers["session"] == self._session) & (headers["split"] == self._split)
        counters.malformed += len(ours) - int(np.count_nonzero(ours | greetings))
        ours &= ~greetings
        refusals = ours & (headers["kind"] == Kind.REFUSE)
        self.over = self.over or bool(refusals.any())
        ours &= ~refusals
        return datagrams if ours.all() else datagrams.take(ours)

    def _opened(self, datagrams: Datagrams) -> Datagrams:
        opened, bad = self._seals.server.open(datagrams)
        self._counters.bad_seal += bad
        return opened

    def _sealed(self, datagrams: Datagrams) -> Datagrams:
        return self._seals.device.seal(datagrams)

    def _answered(self, packets: Datagrams, now: float) -> list[Outcome]:
        for frame in np.unique(packets.headers["frame"]).tolist():
            self._window.heard(frame, now)
        outcomes: list[Outcome] = []
        for received in self._answers.add(packets, now):
            if received.why != "complete":
                continue
            flight = self._window.end(received.frame)
            if flight is not None:
                if flight.report is not None and flight.left_s is not None:
                    self._steering.answered(flight.report, now - flight.left_s)
                share = received.extra / WHOLE_SHARE
                outcomes.append(Outcome(flight.ticket, received.arrays, share, flight.left_s, now))
        self._count_dropped()
        return outcomes

    def _count_dropped(self) -> None:
        """Count what was not taken of answers since the last time."""
        dropped = self._answers.counters
        repeated = dropped.duplicate + dropped.stale + dropped.late
        wrong = dropped.malformed + dropped.foreign + dropped.jump
        self._counters.duplicate += repeated - self._dropped[0]
        self._counters.malformed += wrong - self._dropped[1]
        self._dropped = repeated, wrong

    def _reported(self, packet: Datagrams, now: float) -> None:
        """What the server says of a frame: once of each, while its answer is waited for."""
        flight = self._window.get(int(packet.headers["frame"][0]))
        if flight is None or flight.report is not None:
            self._counters.duplicate += 1
            return
        report = read_report(packet)
        fits = int(packet.headers["route"][0]) == flight.route and self._steering.chooses
        chunks = self._ways[flight.route].boundary.chunks
        if report is None or not fits or report.chunks != chunks:
            self._counters.malformed += 1
            return
        flight.report = report
        self._steering.reported(flight.route, report, now)

    def _probe(self, now: float) -> None:
        """Ask for the bandwidth where nothing tells it; once after each frame at most."""
        ready = self._may_probe and self._trains.until_s is None
        if ready and self._steering.wants_probe(self._packets, now):
            self._may_probe = False
            self._outbox.message(self._sealed(self._trains.begin(now)))

    def _message(self, packet: Datagrams, now: float) -> list[Outcome]:
        """What is no part of an answer."""
        header = packet.headers[0]
        kind, frame = int(header["kind"]), int(header["frame"])
        if kind == Kind.NACK and self._settings.transport == "resend":
            self._asked(header, packet.payload(0), now)
        elif kind == Kind.FAIL:
            flight = self._window.end(frame)
            if flight is not None:
                text = bytes(packet.payload(0)).decode(errors="replace")
                why = "".join(c for c in text if c.isprintable())
                error = DeviceError("the server could not run the tail", why=why)
                return [Outcome(flight.ticket, None, 0.0, flight.left_s, now, error)]
        elif kind == Kind.BYE:
            self.over = True
        else:
            self._counters.malformed += 1
        return []

    def _asked(self, header: Array, bitmap: memoryview, now: float) -> None:
        """The server asks for what it lacks of a frame."""
        frame = int(header["frame"])
        flight = self._window.get(frame)
        if flight is None:
            return
        number = int(header["chunk"]) | int(header["extra"]) << 16
        chunks = self._ways[flight.route].boundary.chunks
        missing = missing_rows(bitmap, chunks)
        if not header["chunks"]:  # Nothing came, not even how many there are.
            missing = np.arange(chunks)
        self._send_again(self._window.again(frame, number, missing, now))

    def due(self, now: float) -> list[Outcome]:
        """What is due: questions, packets once more; and frames that are given up."""
        outcomes: list[Outcome] = []
        if (found := self._trains.over(now)) is not None:
            self._steering.probed(found, now)
        if not len(self._window):
            # Nothing else is on the link.
            self._probe(now)
        for flight in self._window.given_up(now):
            self._outbox.take_back(flight.frame)
            self.silent = self.silent or self._heard_s < flight.began_s
            outcomes.append(given_up(flight, self._settings.silent_after_s, now))
        self._answers.due(now)
        for flight in self._window.overdue(now):
            self._ask(Gap(flight.frame, flight.route, 0, NOTHING_CAME))
            if self._settings.transport == "resend":
                self._send_again(self._window.last_again(flight, now))
        for gap in self._answers.gaps(now):
            if self._asks and self._window.get(gap.frame) is not None:
                self._ask(gap)
        return outcomes

    def _ask(self, gap: Gap) -> None:
        question = gap.packet(self._session, self._split, self._questions)
        self._questions += 1
        self._counters.nacks += 1
        self._outbox.message(self._sealed(question))

    def _send_again(self, packets: Datagrams) -> None:
        self._counters.packets_resent += len(packets)
        self._outbox.message(packets)

    def next_s(self) -> float | None:
        """When something is due; None where nothing is."""
        dues = [self._window.next_s(), self._answers.next_due(), self._trains.until_s]
        return min((due for due in dues if due is not None), default=None)

    def bye(self) -> None:
        """Tell the server that no more comes."""
        header = Header(Kind.BYE, self._session, self._split)
        self._outbox.message(self._sealed(Datagrams.of(header)))

    def empty(self) -> list[Flight]:
        """The frames that were under way: they may be begun again elsewhere."""
        return self._window.empty()
