# SPDX-License-Identifier: Apache-2.0
"""What those are told who are not served: never more than they said, and not too often."""

from __future__ import annotations

import math
from collections import OrderedDict

from splitc.net.address import show_peer
from splitc.serve.journal import Journal
from splitc.serve.limits import Allowance
from splitc.serve.measures import Measures
from splitc.serve.peer import Outgoing, Place
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import NO_NONCE, Code, Refuse

_AGAIN_S = 0.05
"""A peer is not told the same so soon again."""
_WRITTEN_AGAIN_S = 10.0
"""And a peer that asks again and again fills no journal."""
_KEPT = 1024


class Refusals:
    """Refuses.

    Args:
        per_second: How often, all peers together.
        measures: Where refusals are counted.
        journal: Where they are written.
    """

    def __init__(self, per_second: float, measures: Measures, journal: Journal) -> None:
        self._measures = measures
        self._journal = journal
        self._allowance = Allowance(per_second)
        self._told: OrderedDict[tuple[Place, Code], float] = OrderedDict()

    def tell(
        self,
        code: Code,
        packet: Datagrams,
        place: Place,
        now: float,
        text: str = "",
        nonce: bytes = NO_NONCE,
    ) -> list[Outgoing]:
        """Tell a peer why it is not served.

        Args:
            code: Why.
            packet: The one packet that is answered.
            place: Where it came from.
            now: The time.
            text: Why, in words, which is written down too; by default nothing.
            nonce: Of its HELLO.

        Returns:
            What to send: nothing where it was told a moment ago, or too many were.
        """
        whom = (place, code)
        before = self._told.get(whom, -math.inf)
        header = packet.headers[0]
        refusal = Refuse(code, nonce, text, int(header["session"]), int(header["split"]))
        data = refusal.write(int(packet.lengths[0]))
        # What is too short to be answered does not use up what a longer packet will be told.
        if data is None or now < before + _AGAIN_S or not self._allowance.take(now):
            return []
        self._told[whom] = now
        self._told.move_to_end(whom)
        if len(self._told) > _KEPT:
            self._told.popitem(last=False)
        name = code.name.lower()
        self._measures.refused[name] += 1
        if text and now >= before + _WRITTEN_AGAIN_S:
            where = show_peer(place.address)
            self._journal("refused", f"{where} is not served: {text}", peer=where, code=name)
        return [Outgoing(Datagrams.packets([data]), place)]
