# SPDX-License-Identifier: Apache-2.0
"""Packets more, from which lost ones are computed: Reed-Solomon over GF(2^8), by zfec."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitc.errors import ToolchainError
from splitc.link.parity_groups import parity_groups
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, Kind, read_header


class Parity:
    """The parity packets of frames of so many chunks.

    Of each group of k chunks (`parity_groups`) there are blocks more: any k of all of them give
    the chunks.

    Args:
        chunks: Chunks of a frame.
        payload_bytes: Bytes of payload of a packet; shorter chunks are filled up with zeros.
        percent: Parity blocks for 100 chunks, from 1 to 100.

    Raises:
        UsageError: `percent` is out of its range.
        ToolchainError: The package `zfec` is not installed.

    References:
        Rizzo, "Effective Erasure Codes for Reliable Computer Communication Protocols", ACM
        SIGCOMM Computer Communication Review 27(2), 1997.
    """

    def __init__(self, chunks: int, payload_bytes: int, percent: int) -> None:
        self.groups = parity_groups(chunks, percent)
        self.chunks, self.payload_bytes, self.percent = chunks, payload_bytes, percent
        self.blocks = sum(len(group.blocks) for group in self.groups)
        self._coders = {
            (len(group.chunks), len(group.blocks)): _coders(len(group.chunks), len(group.blocks))
            for group in self.groups
        }

    def pack(self, data: Datagrams) -> Datagrams:
        """The parity packets of a frame.

        Args:
            data: The frame's packets in order, not sealed.
        """
        header = read_header(data.packet(0))
        assert header is not None
        inside = slice(HEADER_BYTES, HEADER_BYTES + self.payload_bytes)
        rows = data.block[:, inside].copy()
        fill_up(rows, data.lengths - HEADER_BYTES)
        sizes = np.full(self.blocks, self.payload_bytes, np.int64)
        header = header._replace(kind=Kind.PARITY, extra=self.percent)
        made = Datagrams.frame(header, sizes, self.payload_bytes)
        for group in self.groups:
            k, more = len(group.chunks), len(group.blocks)
            encoder, _ = self._coders[k, more]
            blocks = encoder.encode(
                tuple(rows[chunk] for chunk in group.chunks), tuple(range(k, k + more))
            )
            for number, block in zip(group.blocks, blocks, strict=True):
                made.block[number, inside] = np.frombuffer(block, np.uint8)
        return made

    def enough(self, came: NDArray[np.bool_], blocks_came: NDArray[np.bool_]) -> bool:
        """Whether every chunk came or can be computed.

        Args:
            came: Which chunks came [chunks].
            blocks_came: Which parity blocks came [blocks].
        """
        return all(
            np.count_nonzero(came[_slice(group.chunks)])
            + np.count_nonzero(blocks_came[_slice(group.blocks)])
            >= len(group.chunks)
            for group in self.groups
        )

    def recover(
        self,
        rows: NDArray[np.uint8],
        came: NDArray[np.bool_],
        blocks: NDArray[np.uint8],
        blocks_came: NDArray[np.bool_],
    ) -> None:
        """Compute every chunk that can be; `rows` and `came` have them afterwards.

        Args:
            rows: The chunks that came, filled up with zeros [chunks, payload_bytes].
            came: Which those are [chunks].
            blocks: The parity blocks that came [blocks, payload_bytes].
            blocks_came: Which those are [blocks].
        """
        for group in self.groups:
            here = came[_slice(group.chunks)]
            lost = np.flatnonzero(~here).tolist()
            more = (np.flatnonzero(blocks_came[_slice(group.blocks)])).tolist()
            if not lost or len(more) < len(lost):
                continue
            k = len(group.chunks)
            # zfec wants chunk i in place i, and any parity block where it is lost.
            numbers = list(range(k))
            members = [rows[chunk] for chunk in group.chunks]
            for place, block in zip(lost, more, strict=False):
                numbers[place] = k + block
                members[place] = blocks[group.blocks[block]]
            _, decoder = self._coders[k, len(group.blocks)]
            decoded = decoder.decode(tuple(members), tuple(numbers))
            for place in lost:
                rows[group.chunks[place]] = np.frombuffer(decoded[place], np.uint8)
            here[:] = True


def fill_up(rows: NDArray[np.uint8], sizes: NDArray[np.int64]) -> None:
    """Write zeros behind what counts of each row."""
    for row in np.flatnonzero(sizes < rows.shape[1]).tolist():
        rows[row, sizes[row] :] = 0


def _slice(numbers: range) -> slice:
    return slice(numbers.start, numbers.stop, numbers.step)


def _coders(k: int, more: int) -> tuple[Any, Any]:
    """What encodes and decodes k blocks with so many more."""
    try:
        import zfec
    except ImportError as error:
        hint = "pip install 'splitc[parity]' (zfec is under the GPL)"
        raise ToolchainError("parity packets need zfec", hint=hint) from error
    coder: Any = zfec
    return coder.Encoder(k, k + more), coder.Decoder(k, k + more)
