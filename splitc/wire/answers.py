# SPDX-License-Identifier: Apache-2.0
"""The tail's results, cut into packets and put together: all of them or none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.errors import BadBundleError, UsageError
from splitc.link.packets import packet_count
from splitc.runtime.manifest import TensorSpec
from splitc.runtime.tvm_abi import aligned
from splitc.wire.boundary import plain_type
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, MOST_CHUNKS, Header, Kind

WHOLE_SHARE = 0xFFFF
"""What an ANSWER's `extra` says where every element came; it counts shares in 65535ths."""


class Answers:
    """The results of one route, their bytes one after another, in chunks.

    Args:
        specs: The results, in the order of the contract.
        payload_bytes: Bytes of payload that a packet holds.

    Raises:
        UsageError: They fill more packets than a frame has.
        BadBundleError: A result has open extents or an element type that numpy has not.
    """

    def __init__(self, specs: Sequence[TensorSpec], payload_bytes: int) -> None:
        self.specs = tuple(specs)
        self.payload_bytes = payload_bytes
        self._types = [plain_type(spec) for spec in specs]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in self._types]
        self.nbytes = sum(sizes)
        # Results of no bytes are an answer too: a packet says that they are there.
        self.chunks = max(1, packet_count(self.nbytes, payload_bytes))
        if self.chunks > MOST_CHUNKS:
            why = f"the results fill over {MOST_CHUNKS} packets of {payload_bytes} bytes"
            raise UsageError("it cannot be answered", why=why, hint="take a larger --mtu")
        self.sizes = np.full(self.chunks, payload_bytes, np.int64)
        self.sizes[-1] = self.nbytes - (self.chunks - 1) * payload_bytes

    def pack(
        self,
        results: Sequence[Array],
        *,
        session: int,
        split: int,
        frame: int,
        route: int = 0,
        share: float = 1.0,
    ) -> Datagrams:
        """The packets of one answer, in order; there is room to seal each in its row.

        Args:
            results: Of the contract's element types and sizes.
            session: See `Header`.
            split: See `Header`.
            frame: The frame that is answered.
            route: See `Header`.
            share: Of the frame's elements that came.

        Raises:
            BadBundleError: The part made something else than its contract says.
        """
        for spec, (shape, dtype), one in zip(self.specs, self._types, results, strict=True):
            if one.dtype != dtype or one.size != math.prod(shape):
                why = f"it made {one.dtype} {one.shape}, the contract {dtype} {shape}"
                raise BadBundleError(f"result '{spec.name}' does not fit", why=why)
        extra = round(share * WHOLE_SHARE)
        header = Header(Kind.ANSWER, session, split, frame, route, 0, self.chunks, extra)
        made = Datagrams.frame(header, self.sizes, self.payload_bytes)
        data = np.concatenate([_bytes(one) for one in results] or [np.empty(0, np.uint8)])
        size = self.payload_bytes
        full = self.nbytes // size
        rows = made.block[:, HEADER_BYTES:]
        rows[:full, :size] = data[: full * size].reshape(full, size)
        if full < self.chunks:
            rows[full, : self.nbytes - full * size] = data[full * size :]
        return made

    def unpack(
        self, rows: NDArray[np.uint8], came: NDArray[np.bool_], loss_rate: float = 0.0
    ) -> tuple[list[Array], float]:
        """The results, or none where a chunk did not come, and the share of chunks that came.

        Args:
            rows: The chunks' payloads [chunks, payload_bytes].
            came: Which came [chunks].
            loss_rate: Of no interest here.
        """
        if not came.all():
            return [], float(came.mean())
        data = rows.reshape(-1)
        arrays: list[Array] = []
        start = 0
        for shape, dtype in self._types:
            array = aligned(shape, dtype.newbyteorder("<"))
            end = start + array.nbytes
            array.reshape(-1).view(np.uint8)[:] = data[start:end]
            start = end
            arrays.append(array.astype(dtype, copy=False))
        return arrays, 1.0


def _bytes(array: Array) -> NDArray[np.uint8]:
    """An array's bytes as they go over the link."""
    little = array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array, little).reshape(-1).view(np.uint8)
