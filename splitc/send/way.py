# SPDX-License-Identifier: Apache-2.0
"""How frames of one route are cut into packets."""

from __future__ import annotations

from typing import NamedTuple

from splitc.runtime.manifest import Remote
from splitc.send.settings import Settings
from splitc.wire.boundary import Boundary
from splitc.wire.parity import Parity


class Way(NamedTuple):
    """How frames of one route are sent.

    Args:
        boundary: How they lie in packets.
        parity: What parity packets they have; None for none.
    """

    boundary: Boundary
    parity: Parity | None

    @staticmethod
    def of(remote: Remote, payload_bytes: int, order_seed: int, settings: Settings) -> Way:
        """That of a route."""
        boundary = Boundary(remote.crosses, payload_bytes, order_seed, remote.missing)
        # No frame waits longer as it is the first of its route.
        boundary.prepare()
        if settings.transport != "parity":
            return Way(boundary, None)
        return Way(boundary, Parity(boundary.chunks, payload_bytes, settings.parity_percent))
