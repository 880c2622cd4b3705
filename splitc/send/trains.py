# SPDX-License-Identifier: Apache-2.0
"""Trains of probes in a session: what tells the bandwidth where what crosses is too little.

No socket and no clock: times are seconds that the caller says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitc.link.measured import train_bandwidth
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, IP_UDP_BYTES, TAG_BYTES
from splitc.wire.probe import Echo, probes

PROBES = 8
"""Packets of a train."""
_PATIENCE_S, _QUIET_S = 0.5, 0.1
"""How long the first echo is waited for, and each further one."""
_AT_ONCE_S = 2e-4
"""Packets that come in less time come at once, as far as a server can tell."""


class Trains:
    """The trains of one session, one at a time.

    Args:
        session: See `Header`.
        split: See `Header`.
        payload_bytes: Of each probe: a full packet's.
        sealed: Whether packets are sealed.
    """

    def __init__(self, session: int, split: int, payload_bytes: int, *, sealed: bool) -> None:
        self._session, self._split, self._payload_bytes = session, split, payload_bytes
        overhead = HEADER_BYTES + IP_UDP_BYTES + (TAG_BYTES if sealed else 0)
        self._packet_bytes = payload_bytes + overhead
        self._number = -1
        self._clocks_s = np.full(PROBES, np.nan)
        self.until_s: float | None = None
        """When the train that is under way is over, whatever is missing; None where none is."""

    def begin(self, now: float) -> Datagrams:
        """The packets of another train."""
        self._number += 1
        self.until_s = now + _PATIENCE_S
        self._clocks_s = np.full(PROBES, np.nan)
        return probes(
            self._number, range(PROBES), self._payload_bytes, session=self._session,
            split=self._split,
        )  # fmt: skip

    def take(self, echoes: Sequence[Echo], now: float) -> None:
        """Take echoes."""
        for echo in echoes:
            if echo.train == self._number and echo.number < PROBES and self.until_s is not None:
                self._clocks_s[echo.number] = echo.clock_ns / 1e9
                self.until_s = now + _QUIET_S

    def over(self, now: float) -> float | None:
        """Bits a second, once all of a train came back or no more is waited for.

        Where all came too close together to be told apart, it is what the link has at least;
        None where too few came, or none is under way.
        """
        missing = np.isnan(self._clocks_s)
        if self.until_s is None or (missing.any() and now < self.until_s):
            return None
        self.until_s = None
        found = train_bandwidth(self._clocks_s, self._packet_bytes)
        if found is None and not missing.any():
            apart_s = max(float(np.ptp(self._clocks_s)), _AT_ONCE_S)
            found = (PROBES - 1) * self._packet_bytes * 8 / apart_s
        return found
