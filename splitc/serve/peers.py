# SPDX-License-Identifier: Apache-2.0
"""The sessions of a server: who they are, what they hold, and when one of them is due."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from splitc.serve.peer import Peer, Place

_NEVER = float("inf")


class Peers:
    """Sessions, by their numbers and by where their packets come from.

    Args:
        idle_s: After so long without a packet a peer is idle.
    """

    def __init__(self, idle_s: float) -> None:
        self.memory = 0
        self._idle_s = idle_s
        self._by_session: dict[int, Peer] = {}
        self._by_place: dict[Place, Peer] = {}
        self._alarms: list[tuple[float, int]] = []
        self._sweep_s = _NEVER

    def __len__(self) -> int:
        return len(self._by_session)

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._by_session.values()))

    def get(self, session: int) -> Peer | None:
        """The peer with a session's number."""
        return self._by_session.get(session)

    def at(self, place: Place) -> Peer | None:
        """The peer whose packets come from a place."""
        return self._by_place.get(place)

    def add(self, peer: Peer) -> None:
        """Take a peer in; there is none with its number, and none at its place."""
        self._by_session[peer.session] = peer
        self._by_place[peer.place] = peer
        self._sweep_s = min(self._sweep_s, peer.heard_s + self._idle_s)

    def remove(self, peer: Peer) -> None:
        """Let a peer go, and what it holds."""
        peer.gone = True
        del self._by_session[peer.session]
        del self._by_place[peer.place]
        self.memory -= peer.counted
        peer.counted = 0

    def settle(self, peer: Peer) -> None:
        """Take note of what a peer holds now, and of when it is due next."""
        if peer.gone:
            return
        held = peer.held
        self.memory += held - peer.counted
        peer.counted = held
        due = peer.next_due
        if due is not None and due < peer.alarm_s:
            peer.alarm_s = due
            heapq.heappush(self._alarms, (due, peer.session))

    def due(self, now: float) -> Iterator[Peer]:
        """The peers for whom something has to be done now; settle each."""
        while self._alarms and self._alarms[0][0] <= now:
            at, session = heapq.heappop(self._alarms)
            peer = self._by_session.get(session)
            # A peer that was due earlier meanwhile has another alarm.
            if peer is not None and peer.alarm_s == at:
                peer.alarm_s = _NEVER
                yield peer

    def idle(self, now: float) -> list[Peer]:
        """The peers that have been silent for too long, looked for now and then."""
        if now < self._sweep_s:
            return []
        self._sweep_s = now + self._idle_s / 4 if self._by_session else _NEVER
        return [peer for peer in self if now - peer.heard_s >= self._idle_s]

    @property
    def next_due(self) -> float | None:
        """When `due` or `idle` may have something."""
        first = self._alarms[0][0] if self._alarms else _NEVER
        soonest = min(first, self._sweep_s)
        return None if soonest == _NEVER else soonest

    def biggest(self) -> Peer | None:
        """The peer that holds most."""
        return max(self._by_session.values(), key=_counted, default=None)

    def most_silent(self) -> Peer | None:
        """The peer that has not been heard of for longest."""
        return min(self._by_session.values(), key=_heard, default=None)


def _counted(peer: Peer) -> int:
    return peer.counted


def _heard(peer: Peer) -> float:
    return peer.heard_s
