# SPDX-License-Identifier: Apache-2.0
"""One frame while its packets come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.wire.parity import Parity, fill_up
from splitc.wire.received import Spread

Rows = NDArray[np.uint8]

Numbers = NDArray[np.intp]


class Taken(NamedTuple):
    """What became of some packets of a frame.

    Args:
        new: How many were taken; the others had come before.
        behind: How many stand behind the last that was taken.
        chosen: Which were taken, as an index of the frame's chunks or blocks.
    """

    new: int
    behind: int
    chosen: slice | Numbers


class Layout(Protocol):
    """How frames of one route lie in chunks: a `Boundary` or `Answers`."""

    @property
    def chunks(self) -> int:
        """Chunks of a frame."""
        ...

    @property
    def payload_bytes(self) -> int:
        """Bytes of payload that a packet holds."""
        ...

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of payload of each chunk [chunks]."""
        ...

    def unpack(
        self, rows: Rows, came: NDArray[np.bool_], loss_rate: float
    ) -> tuple[list[Array], float]:
        """What the chunks that came give, and the share that came."""
        ...


@dataclass
class Patience:
    """When to ask for what is missing: after a while of silence, then after twice that, ….

    Args:
        begun_s: When it was first waited for.
        grace_s: The first while.
    """

    begun_s: float
    grace_s: float

    def __post_init__(self) -> None:
        self.heard(self.begun_s)

    def heard(self, now: float) -> None:
        """Something came: the next while is short again."""
        self._since_s, self._while_s = now, self.grace_s

    def asked(self, now: float) -> None:
        """It was asked for."""
        self._since_s, self._while_s = now, 2 * self._while_s

    @property
    def due_s(self) -> float:
        """When to ask next."""
        return self._since_s + self._while_s


class Frame:
    """The chunks of a frame that came so far.

    Args:
        layout: How its route's frames lie in chunks.
        route: Its route.
        parity: What computes lost chunks, where there is parity.
        now: When its first packet came.
        grace_s: See `Patience`.
        deadline_s: Seconds that it is waited for.
    """

    def __init__(
        self,
        layout: Layout,
        route: int,
        parity: Parity | None,
        now: float,
        grace_s: float,
        deadline_s: float,
    ) -> None:
        self.layout, self.route, self.parity = layout, route, parity
        self.first_s = self.last_s = now
        self.deadline_s = deadline_s
        self.patience = Patience(now, grace_s)
        self.ended = False
        """Whether its sender is known to have sent all of it."""
        self.extra: int | None = None
        self.rows = np.empty((layout.chunks, layout.payload_bytes), np.uint8)
        self.came = np.zeros(layout.chunks, np.bool_)
        self.count = self.computed = 0
        self.asked = False
        """Whether what is missing was asked for: what comes then tells no rate of the link."""
        self._first_packets = self._first_bytes = self._later_packets = self._later_bytes = 0
        self._later_s = 0.0
        blocks = parity.blocks if parity is not None else 0
        self.blocks = np.empty((blocks, layout.payload_bytes), np.uint8)
        self.blocks_came = np.zeros(blocks, np.bool_)
        self.nbytes = self.rows.nbytes + self.blocks.nbytes

    def take(self, numbers: Numbers, payloads: Rows, now: float) -> Taken:
        """Take chunks.

        Args:
            numbers: Which they are [n].
            payloads: Their bytes [n, …], as many as count and any behind.
            now: When they came.
        """
        taken = _put(numbers, payloads, self.rows, self.came)
        if taken.new:
            self.count += taken.new
            # Where there is parity it is sent behind the last chunk, perhaps a while later.
            self.ended = self.ended or (self.parity is None and bool(self.came[-1]))
            self._heard(taken, self.layout.sizes, now)
        return taken

    def take_parity(self, numbers: Numbers, payloads: Rows, now: float) -> Taken:
        """Take parity blocks; see `take`. They are sent when all chunks were."""
        taken = _put(numbers, payloads, self.blocks, self.blocks_came)
        if taken.new:
            self.ended = True
            self._heard(taken, None, now)
        return taken

    def _heard(self, taken: Taken, sizes: NDArray[np.int64] | None, now: float) -> None:
        self.last_s = now
        self.patience.heard(now)
        if self.asked:
            return
        if sizes is None:
            nbytes = taken.new * self.layout.payload_bytes
        elif isinstance(taken.chosen, slice) and taken.new == 1:
            nbytes = sizes.item(taken.chosen.start)
        else:
            nbytes = int(sizes[taken.chosen].sum())
        if now > self.first_s:
            self._later_s = now - self.first_s
            self._later_packets += taken.new
            self._later_bytes += nbytes
        else:
            self._first_packets += taken.new
            self._first_bytes += nbytes

    @property
    def spread(self) -> Spread:
        """How far apart its packets came."""
        if self._later_packets or not self._first_packets:
            return Spread(self._later_s, self._later_packets, self._later_bytes)
        packets, nbytes = self._first_packets, self._first_bytes
        return Spread(0.0, packets - 1, nbytes - nbytes // packets)

    def ask(self, now: float) -> None:
        """What is missing is asked for."""
        self.asked = True
        self.patience.asked(now)

    @property
    def complete(self) -> bool:
        """Whether every chunk came, or can be computed."""
        if self.count == len(self.came):
            return True
        if self.parity is None or self.count + np.count_nonzero(self.blocks_came) < len(self.came):
            return False
        return self.parity.enough(self.came, self.blocks_came)

    def recover(self) -> int:
        """Compute what can be from parity; gives how many chunks that were."""
        if self.parity is None or self.count == len(self.came):
            return 0
        fill_up(self.rows, self.layout.sizes)
        self.parity.recover(self.rows, self.came, self.blocks, self.blocks_came)
        before, self.count = self.count, int(np.count_nonzero(self.came))
        self.computed = self.count - before
        return self.computed


def _put(numbers: Numbers, payloads: Rows, rows: Rows, came: NDArray[np.bool_]) -> Taken:
    """Copy payloads to the rows of their numbers where nothing came before.

    Of two of one number the first is taken.
    """
    count, first, width = len(numbers), int(numbers[0]), min(payloads.shape[1], rows.shape[1])
    if int(numbers[-1]) - first == count - 1 and (numbers[1:] > numbers[:-1]).all():
        # One after another, as most come: one copy.
        here = slice(first, first + count)
        if not came[here].any():
            rows[here, :width] = payloads[:, :width]
            came[here] = True
            return Taken(count, 0, here)
    firsts = np.zeros(count, np.bool_)
    firsts[np.unique(numbers, return_index=True)[1]] = True
    places = np.flatnonzero(firsts & ~came[numbers])
    chosen = numbers[places]
    rows[chosen, :width] = payloads[places, :width]
    came[chosen] = True
    last = int(places[-1]) if len(places) else -1
    return Taken(len(places), count - 1 - last, chosen)
