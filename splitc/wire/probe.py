# SPDX-License-Identifier: Apache-2.0
"""PROBE and ECHO: trains of packets that measure a link, and what the server says of them."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, MAGIC, VERSION, Kind

ECHO_BYTES = 16
"""Of an ECHO's payload at least, and so of a PROBE's: the server's clock, and what it has seen."""
SEEN = 64
"""Probes that an ECHO tells of: its own and those before it."""
MOST = 0xFFFF
"""Probes of a train at most."""

_ECHO = struct.Struct("<QQ")
_MASK = (1 << SEEN) - 1


def probes(
    train: int,
    numbers: range,
    nbytes: int,
    *,
    echo_bytes: int = ECHO_BYTES,
    session: int = 0,
    split: int = 0,
) -> Datagrams:
    """Some PROBEs of a train.

    Args:
        train: Number of the train, higher than any before in this session.
        numbers: Which of its probes; each is sent once.
        nbytes: Bytes of payload of each, from `ECHO_BYTES`.
        echo_bytes: Bytes of payload that are wanted of each ECHO, from `ECHO_BYTES` to `nbytes`.
        session: The session.
        split: What stands for the bundle; 0 without one.
    """
    made = Datagrams.room(len(numbers), nbytes)
    made[:] = 0
    found = Datagrams(made, np.full(len(numbers), HEADER_BYTES + nbytes, np.int64))
    headers = found.headers
    headers["magic"], headers["version"], headers["kind"] = MAGIC, VERSION, Kind.PROBE
    headers["session"], headers["split"], headers["frame"] = session, split, train
    headers["chunk"], headers["extra"] = np.array(numbers, np.uint16), echo_bytes
    return found


class Echoes:
    """A server's answers to the probes of one session.

    Each probe is answered at most once and by no more bytes than it has, so that probes that
    somebody repeats cost nothing and no two ECHOs are sealed alike: trains older than the last
    and probes `SEEN` behind the last of their train get no answer.
    """

    def __init__(self) -> None:
        self.ignored = 0
        """Probes that got no answer: repeated, late, or malformed."""
        self._train, self._last, self._seen = -1, -1, 0

    def answer(self, found: Datagrams, now_ns: int) -> Datagrams:
        """The ECHOs to PROBEs of this session, opened.

        An ECHO has its probe's header, another kind. Its payload is `now_ns` u64; which probes
        of the train had come, u64, bit i for the probe i before this one; and zeros.

        Args:
            found: The probes.
            now_ns: Nanoseconds on any clock that does not go back.
        """
        rows: list[int] = []
        payloads: list[bytes] = []
        for row, header in enumerate(found.headers.tolist() if len(found) else ()):
            train, number, wanted = header[5], header[7], header[9]
            room = int(found.lengths[row]) - HEADER_BYTES
            if room < ECHO_BYTES or not self._is_new(train, number):
                self.ignored += 1
                continue
            seen = self._seen >> (self._last - number) & _MASK
            rows.append(row)
            payloads.append(_ECHO.pack(now_ns, seen).ljust(min(wanted, room), b"\0"))
        made = Datagrams.packets([bytes(HEADER_BYTES) + payload for payload in payloads])
        if rows:
            made.headers[:] = found.headers[rows]
            made.headers["kind"] = Kind.ECHO
        return made

    def _is_new(self, train: int, number: int) -> bool:
        """Note a probe; whether it is to be answered."""
        if train > self._train:
            self._train, self._last, self._seen = train, number, 0
        elif train < self._train:
            return False
        behind = self._last - number
        if behind < 0:
            # Twice as many as are told of: the last of them may come late, and tell of others.
            self._seen = self._seen << -behind & (1 << 2 * SEEN) - 1
            self._last, behind = number, 0
        if behind >= SEEN or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True


class Echo(NamedTuple):
    """What an ECHO says.

    Args:
        train: The probe's train.
        number: The probe's number.
        clock_ns: When the server got it, on the server's clock.
        seen: Bit i: whether the server had got probe `number` - i.
    """

    train: int
    number: int
    clock_ns: int
    seen: int


def read_echoes(found: Datagrams) -> list[Echo]:
    """What the ECHOs among packets of a session, opened, say."""
    echoes: list[Echo] = []
    for row, header in enumerate(found.headers.tolist() if len(found) else ()):
        if header[2] == Kind.ECHO and found.lengths[row] >= HEADER_BYTES + ECHO_BYTES:
            echoes.append(Echo(header[5], header[7], *_ECHO.unpack_from(found.payload(row))))
    return echoes
