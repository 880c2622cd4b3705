# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Levels of a few bits in Huffman's code, by zlib."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from splitc.errors import BadModelError
from splitc_passes.layers import coded
from splitc_passes.layers.coded import Values

_BYTE = 8
_RAW = -zlib.MAX_WBITS
"""Deflate without zlib's own header and checksum."""


@dataclass(frozen=True)
class Huffman:
    """A coder: evenly spaced levels, each in Huffman's code, as JALAD sends them.

    The code is zlib's with matching of repetitions off, so that a kept library does the
    coding; its bytes are deflate's: each block of up to 32,768 symbols has its own code, which
    is sent with it, and an end mark. Symbols are bytes: levels up to 8 bits are one each,
    wider ones two, all low bytes before all high ones.

    Args:
        shape: A sample's.
        low: The value of level 0.
        high: The value of the last level.
        bits: Bits of a level before coding, 1 to 16.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    bits: int

    def symbols(self, values: Values) -> bytes:
        """The bytes that are coded."""
        levels = coded.to_levels(values, self.low, self.high, self.bits).reshape(-1)
        if self.bits <= _BYTE:
            return levels.astype(np.uint8).tobytes()
        return (levels & 0xFF).astype(np.uint8).tobytes() + (levels >> _BYTE).astype(
            np.uint8
        ).tobytes()

    def encode(self, values: Values) -> bytes:
        """The code of a sample."""
        coder = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zlib.Z_HUFFMAN_ONLY)
        return coder.compress(self.symbols(values)) + coder.flush()

    def decode(self, data: bytes) -> Values:
        """The sample that a code stands for.

        Raises:
            BadModelError: It is no such code, or of another number of values.
        """
        count = math.prod(self.shape)
        wanted = count if self.bits <= _BYTE else 2 * count
        try:
            # No more than is wanted: a short code can stand for gigabytes.
            found = zlib.decompressobj(_RAW).decompress(data, wanted + 1)
        except zlib.error as error:
            raise BadModelError("a sample is not in Huffman's code", why=str(error)) from error
        if len(found) != wanted:
            raise BadModelError(f"a sample of {len(found)} symbols", why=f"it should be {wanted}")
        levels = np.frombuffer(found[:count], np.uint8).astype(np.uint16)
        if self.bits > _BYTE:
            levels |= np.frombuffer(found[count:], np.uint8).astype(np.uint16) << _BYTE
        return coded.from_levels(levels.reshape(self.shape), self.low, self.high, self.bits)


class HuffmanEncoder(coded.Encoder[Huffman]):
    """Huffman's code of each sample; see `Huffman` and `coded.Encoder`."""

    splitc_op: ClassVar[str] = "huffman_encode"

    def run(self, x: Tensor) -> Tensor:
        """The codes of `x`."""
        code = self.code
        return torch.ops.splitc.huffman_encode(x, code.low, code.high, code.bits, self.capacity)


class HuffmanDecoder(coded.Decoder[Huffman]):
    """The samples that Huffman codes stand for; see `Huffman` and `coded.Decoder`."""

    splitc_op: ClassVar[str] = "huffman_decode"

    def run(self, x: Tensor) -> Tensor:
        """The samples that the codes stand for."""
        code = self.code
        return torch.ops.splitc.huffman_decode(x, code.shape, code.low, code.high, code.bits)


@torch.library.custom_op(
    "splitc::huffman_encode", mutates_args=(),
    schema="(Tensor x, float low, float high, int bits, int capacity) -> Tensor",
)  # fmt: skip
def _encode(x: Tensor, low: float, high: float, bits: int, capacity: int) -> Tensor:
    code = Huffman(tuple(x.shape[1:]), low, high, bits)
    return coded.framed(coded.encoded(code, x), capacity).to(x.device)


@_encode.register_fake
def _(x: Tensor, low: float, high: float, bits: int, capacity: int) -> Tensor:
    return x.new_empty((x.shape[0], capacity), dtype=torch.uint8)


@torch.library.custom_op(
    "splitc::huffman_decode", mutates_args=(),
    schema="(Tensor x, int[] shape, float low, float high, int bits) -> Tensor",
)  # fmt: skip
def _decode(x: Tensor, shape: Sequence[int], low: float, high: float, bits: int) -> Tensor:
    code = Huffman(tuple(shape), low, high, bits)
    return coded.decoded(code, coded.unframed(x)).to(x.device)


@_decode.register_fake
def _(x: Tensor, shape: Sequence[int], low: float, high: float, bits: int) -> Tensor:
    return x.new_empty((x.shape[0], *shape), dtype=torch.float32)
