# SPDX-License-Identifier: Apache-2.0
"""The server without sockets, threads and clock: packets come in, packets to send come out.

Everything a peer may make it hold is bounded by `Limits`; nothing that a peer sends raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from splitc.errors import ToolchainError, UsageError, one_line
from splitc.net.address import show_peer
from splitc.serve.door import Door
from splitc.serve.journal import Journal, silent
from splitc.serve.limits import Limits
from splitc.serve.measures import Measures, Now
from splitc.serve.peer import Outgoing, Peer, Place
from splitc.serve.peers import Peers
from splitc.serve.refusals import Refusals
from splitc.serve.work import NO_ROOM, Work
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Code, Hello
from splitc.wire.header import HEADER_BYTES, MAGIC, VERSION, Kind
from splitc.wire.nack import missing_rows

_OURS = MAGIC | VERSION << 16
_DATA = (_OURS | Kind.DATA << 24, _OURS | Kind.PARITY << 24)
_PROBE = _OURS | Kind.PROBE << 24
_SILENT_S = 5.0
"""After so long without a packet a peer may have to make room for another."""


class Service:
    """Peers, their frames, and what is answered.

    One thread at a time may call it. Times are seconds of a clock that never goes back.

    Args:
        door: Who comes in.
        refusals: What tells the others.
        limits: What it may hold.
        measures: What it counts.
        journal: Where it writes what happened.
    """

    def __init__(
        self,
        door: Door,
        refusals: Refusals,
        limits: Limits,
        measures: Measures,
        journal: Journal = silent,
    ) -> None:
        self.measures = measures
        self._door = door
        self._refusals = refusals
        self._limits = limits
        self._journal = journal
        self._peers = Peers(limits.idle_s)
        self.work = Work(self._peers, limits.frames_in_flight, measures, journal)
        self._stopping = False

    @property
    def now(self) -> Now:
        """What it holds at this moment."""
        waiting = self.work.waiting(quick=True) + self.work.waiting(quick=False)
        return Now(len(self._peers), waiting, self._peers.memory)

    @property
    def dropped(self) -> Counter[str]:
        """Packets that were not used, of peers that are there and that were, by the reason."""
        total = Counter(self.measures.dropped)
        for peer in self._peers:
            total.update(peer.dropped)
        return total

    def receive(
        self,
        packets: Datagrams,
        addresses: NDArray[np.uint8],
        now: float,
        stream: Hashable | None = None,
    ) -> list[Outgoing]:
        """Take packets in.

        Args:
            packets: What came, in its order; it may be written over.
            addresses: Who sent each [n, 28].
            now: The time.
            stream: The connection that they came over, if it was one.

        Returns:
            What to send.
        """
        self.measures.packets += len(packets)
        out: list[Outgoing] = []
        many, others = self._sorted(packets)
        for (session, probes), rows in many.items():
            whole = len(rows) == len(packets)
            mine = packets if whole else packets.take(rows)
            theirs = addresses if whole else addresses[rows]
            peer, mine = self._own(session, mine, theirs, stream, now, out)
            if peer is not None and len(mine):
                take = self._echo if probes else self._collect
                take(peer, mine, now, out)
        for row in others:
            one = slice(row, row + 1)
            self._other(packets.take(one), addresses[one], stream, now, out)
        return out

    def _sorted(self, packets: Datagrams) -> tuple[dict[tuple[int, bool], list[int]], list[int]]:
        """Rows of what comes in numbers, by session and whether they are probes; the others."""
        many: dict[tuple[int, bool], list[int]] = {}
        others: list[int] = []
        words = packets.block[:, :4].view("<u4")[:, 0].tolist()
        sessions = packets.headers["session"].tolist()
        lengths = packets.lengths.tolist()
        for row, (word, session, length) in enumerate(zip(words, sessions, lengths, strict=True)):
            if length < HEADER_BYTES or word & 0xFFFF != MAGIC:
                self.measures.dropped["not ours"] += 1
            elif word in _DATA or word == _PROBE:
                many.setdefault((session, word == _PROBE), []).append(row)
            else:
                others.append(row)
        return many, others

    def _own(
        self,
        session: int,
        packets: Datagrams,
        addresses: NDArray[np.uint8],
        stream: Hashable | None,
        now: float,
        out: list[Outgoing],
    ) -> tuple[Peer | None, Datagrams]:
        """Whose session packets are of, and those of them that it sent and sealed."""
        peer = self._peers.get(session)
        if peer is None or not _all_from(peer.place, addresses, stream):
            own = np.zeros(len(packets), np.bool_)
            if peer is not None and peer.place.stream == stream:
                own = (addresses == np.frombuffer(peer.place.address, np.uint8)).all(axis=1)
            stranger = Place(addresses[int(np.argmin(own))].tobytes(), stream)
            # Whoever sends them has to come anew.
            self.measures.dropped["session"] += len(packets) - int(np.count_nonzero(own))
            code = Code.STOPPING if self._stopping else Code.SESSION
            out += self._refusals.tell(code, packets.take(~own).take(slice(0, 1)), stranger, now)
            packets = packets.take(own)
        if peer is None:
            return None, packets
        opened, bad = peer.open(packets)
        if bad:
            self.measures.dropped["seal"] += bad
        if len(opened):
            peer.heard_s = now
        return peer, opened

    def _collect(self, peer: Peer, packets: Datagrams, now: float, out: list[Outgoing]) -> None:
        """Data of one session: frames that are whole now go to their tail."""
        if peer.assembly is None:
            self.measures.dropped["malformed"] += len(packets)
            return
        if self._stopping:
            packets = packets.take(packets.headers["frame"] <= peer.assembly.newest)
        self.work.add(peer, peer.assembly.add(packets, now), out)
        self._peers.settle(peer)
        self._make_room(out)

    def _echo(self, peer: Peer, probes: Datagrams, now: float, out: list[Outgoing]) -> None:
        """Answer those who measure the link."""
        echoes = peer.echoes.answer(probes, int(now * 1e9))
        if len(echoes):
            out.append(peer.to(echoes))

    def _other(
        self,
        packet: Datagrams,
        addresses: NDArray[np.uint8],
        stream: Hashable | None,
        now: float,
        out: list[Outgoing],
    ) -> None:
        """A packet that comes alone."""
        header = packet.headers[0]
        kind = int(header["kind"])
        if kind == Kind.HELLO or int(header["version"]) != VERSION:
            self._hello(packet, Place(addresses[0].tobytes(), stream), now, out)
            return
        if kind not in (Kind.NACK, Kind.BYE):
            self.measures.dropped["malformed"] += 1
            return
        session = int(header["session"])
        peer, packet = self._own(session, packet, addresses, stream, now, out)
        if peer is None or not len(packet):
            return
        if kind == Kind.NACK:
            self._resend(peer, packet, now, out)
        else:
            self._leave(peer, "left", "said goodbye")

    def _hello(self, packet: Datagrams, place: Place, now: float, out: list[Outgoing]) -> None:
        asked = self._door.judge(packet, place, now)
        if not isinstance(asked, Hello):
            out += asked
            return
        before = self._peers.at(place)
        if before is not None and before.hello.client_nonce == asked.client_nonce:
            # It comes again, as the welcome was lost.
            out.append(before.welcome)
            return
        if before is not None:
            self._leave(before, "left", "came anew")
        code, why = Code.BAD, ""
        if self._stopping:
            code, why = Code.STOPPING, "the server stops"
        elif not self._room_for_one(now):
            code, why = Code.FULL, f"the server has its {self._limits.peers} devices"
        else:
            try:
                out.append(self._begin(self._door.admit(asked, place, now)))
            except (UsageError, ToolchainError) as error:
                why = one_line(error)
        if why:
            nonce = asked.client_nonce
            out += self._refusals.tell(code, packet, place, now, why, nonce)

    def _begin(self, peer: Peer) -> Outgoing:
        """Take in a peer and welcome it."""
        self._peers.add(peer)
        self.measures.welcomed += 1
        where, how = show_peer(peer.place.address), peer.hello.transport.name.lower()
        name = peer.served.name if peer.served is not None else ""
        what = f"with the head of {name}" if name else "to measure the link"
        self._journal(
            "welcomed", f"{where} came {what}, by {how}", peer=where, bundle=name, transport=how
        )
        return peer.welcome

    def _room_for_one(self, now: float) -> bool:
        """Whether one more peer has room; one that has been silent for a while makes it."""
        if len(self._peers) < self._limits.peers:
            return True
        peer = self._peers.most_silent()
        if peer is None or now - peer.heard_s < min(_SILENT_S, self._limits.idle_s):
            return False
        self._leave(peer, "evicted", "made room for another")
        return True

    def _resend(self, peer: Peer, nack: Datagrams, now: float, out: list[Outgoing]) -> None:
        """What a device misses of an answer, or its word that it sent all of a frame."""
        header = nack.headers[0]
        frame = int(header["frame"])
        answer = peer.kept(frame)
        if answer is not None:
            rows = missing_rows(nack.payload(0), len(answer))
            if len(rows):
                self.measures.resent += len(rows)
                out.append(Outgoing(answer.take(rows), peer.place))
        elif peer.assembly is not None and not header["chunks"] and not self._stopping:
            closed = peer.assembly.ended(frame, int(header["route"]), now)
            self.work.add(peer, closed, out)
            self._peers.settle(peer)
            self._make_room(out)

    def due(self, now: float) -> list[Outgoing]:
        """Do what time asks for: close frames, ask for packets, forget the silent.

        Returns:
            What to send.
        """
        out: list[Outgoing] = []
        for peer in self._peers.due(now):
            assert peer.assembly is not None
            self.work.add(peer, peer.assembly.due(now), out)
            out += [peer.ask(gap) for gap in peer.assembly.gaps(now)]
            self._peers.settle(peer)
        for peer in self._peers.idle(now):
            self._leave(peer, "evicted", "was silent for too long")
        return out

    def next_due(self) -> float | None:
        """When `due` has to be called next; None where nothing is open."""
        return self._peers.next_due

    def _make_room(self, out: list[Outgoing]) -> None:
        """Where too much is held, whoever holds most gives up what it has had longest."""
        while self._peers.memory > self._limits.memory_bytes:
            peer = self._peers.biggest()
            if peer is None or not (
                peer.forget_answer()
                or self._drop_open(peer, out)
                or self.work.give_up_oldest(peer, out)
            ):
                return
            self._peers.settle(peer)

    def _drop_open(self, peer: Peer, out: list[Outgoing]) -> bool:
        """Give up a peer's oldest frame that is being collected; whether there was one."""
        dropped = peer.assembly.drop_oldest() if peer.assembly is not None else None
        if dropped is None:
            return False
        self.measures.evicted_frames += 1
        self.measures.failed += 1
        out.append(peer.to(peer.packet(Kind.FAIL, *dropped, NO_ROOM)))
        return True

    def serves(self, place: Place) -> bool:
        """Whether a peer is at a place."""
        return self._peers.at(place) is not None

    def lost(self, place: Place) -> None:
        """The connection at a place is gone, and its peer with it."""
        peer = self._peers.at(place)
        if peer is not None:
            self._leave(peer, "left", "closed its connection")

    def _leave(self, peer: Peer, event: str, how: str) -> None:
        self.work.forget(peer)
        self.measures.dropped.update(peer.dropped)
        self._peers.remove(peer)
        self.measures.evicted_peers += event == "evicted"
        where = show_peer(peer.place.address)
        text = f"{where} {how}, after {peer.answered} answers"
        self._journal(event, text, peer=where, answered=peer.answered, how=how)

    def stop(self) -> None:
        """Take no new peers and no new frames; those that are there are answered."""
        self._stopping = True

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be answered."""
        open_ones = any(p.assembly is not None and p.assembly.bytes_held for p in self._peers)
        return self.work.idle and not open_ones

    def goodbye(self) -> list[Outgoing]:
        """Tell every peer that the server goes away."""
        out = [peer.to(peer.packet(Kind.BYE)) for peer in self._peers]
        for peer in self._peers:
            self._leave(peer, "left", "was told that the server stops")
        return out


def _all_from(place: Place, addresses: NDArray[np.uint8], stream: Hashable | None) -> bool:
    """Whether all packets come from a place."""
    return place.stream == stream and addresses.tobytes() == place.address * len(addresses)
