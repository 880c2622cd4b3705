# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Layers that send bytes of a general-purpose coder: baselines, measured and never compiled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from splitc.errors import BadModelError, UsageError
from splitc_passes.layers.straight_through import wants_gradient

Values = np.ndarray[Any, np.dtype[np.float32]]
Levels = np.ndarray[Any, np.dtype[np.uint16]]

PREFIX = 4
"""Bytes in front of a sample's that say how many those are."""


class Code(Protocol):
    """A coder of single samples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """A sample's."""
        ...

    def encode(self, values: Values) -> bytes:
        """The bytes of a sample."""
        ...

    def decode(self, data: bytes) -> Values:
        """The sample that bytes stand for."""
        ...


C = TypeVar("C", bound=Code)


class Encoder(nn.Module, Generic[C]):
    """The coder's bytes of each sample, behind their number and in front of zeros.

        x ──► encoder ──► bytes
        N,…               N,capacity  uint8

    Where a gradient is wanted it gives floats instead, those that the decoder would make,
    and the gradient passes straight through.

    Args:
        code: The coder.
        capacity: Bytes that cross for a sample; any number where a gradient is wanted.

    Attributes:
        last_bytes: Bytes that the coder took for each sample of the last batch.
    """

    splitc_uncompiled: ClassVar[str] = (
        "it is a baseline for evaluation: how many bytes it makes depends on the values"
    )

    def __init__(self, code: C, capacity: int) -> None:
        super().__init__()
        self.code = code
        self.capacity = capacity
        self.last_bytes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        """The bytes of `x`."""
        if wants_gradient(x):
            coded = encoded(self.code, x)
            self.last_bytes = [len(each) for each in coded]
            return x + (decoded(self.code, coded).to(x) - x).detach()
        made = self.run(x)
        if not isinstance(made, FakeTensor) and not torch.compiler.is_compiling():
            self.last_bytes = [len(each) for each in unframed(made)]
        return made

    def run(self, x: Tensor) -> Tensor:
        """The bytes as PyTorch's operator gives them, which can be traced."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Its settings."""
        return f"code={self.code}, capacity={self.capacity}"


class Decoder(nn.Module, Generic[C]):
    """The samples that a coder's bytes stand for.

        bytes       ──► decoder ──► x
        N,capacity                  N,…

    Args:
        code: The coder.
        dtype: Element type of the samples.
    """

    splitc_uncompiled: ClassVar[str] = Encoder.splitc_uncompiled

    def __init__(self, code: C, dtype: torch.dtype) -> None:
        super().__init__()
        self.code = code
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """The samples; floats come from an encoder that is trained through, and stay."""
        return x if x.is_floating_point() else self.run(x).to(self.dtype)

    def run(self, x: Tensor) -> Tensor:
        """The samples as PyTorch's operator gives them, which can be traced."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Its settings."""
        return f"code={self.code}"


def sizes(module: nn.Module) -> Mapping[str, Sequence[int]]:
    """Bytes of each sample of the last batch, by the path of the encoder that made them.

    A link that loses packets carries them with a rate-1/2 code around: twice as many.
    """
    return {
        path: list(each.last_bytes)
        for path, each in module.named_modules()
        if isinstance(each, Encoder)
    }


def encoded(code: Code, x: Tensor) -> list[bytes]:
    """The bytes of every sample of `x` [N, …]."""
    return [code.encode(sample) for sample in x.detach().cpu().float().numpy()]


def decoded(code: Code, coded: Iterable[bytes]) -> Tensor:
    """The samples [N, …] that bytes stand for."""
    samples = [code.decode(each) for each in coded]
    return torch.from_numpy(np.stack(samples) if samples else np.empty((0, *code.shape), "f4"))


def framed(coded: Sequence[bytes], capacity: int) -> Tensor:
    """Bytes as rows [N, capacity], each behind their number and in front of zeros.

    Raises:
        UsageError: A sample's are more than there is room for.
    """
    rows = np.zeros((len(coded), capacity), np.uint8)
    for row, data in zip(rows, coded, strict=True):
        frame = len(data).to_bytes(PREFIX, "little") + data
        if len(frame) > capacity:
            raise UsageError(
                f"a sample takes {len(frame)} bytes, the capacity is {capacity}",
                hint="calibrate with more examples, or give a larger capacity",
            )
        row[: len(frame)] = np.frombuffer(frame, np.uint8)
    return torch.from_numpy(rows)


def unframed(rows: Tensor) -> list[bytes]:
    """The bytes in rows [N, capacity].

    Raises:
        BadModelError: A row says that it holds more than there is.
    """
    found: list[bytes] = []
    for row in rows.detach().cpu().numpy():
        size = int.from_bytes(row[:PREFIX].tobytes(), "little")
        if size > len(row) - PREFIX:
            raise BadModelError(f"a sample of {size} bytes in {len(row)}", why="it was not encoded")
        found.append(row[PREFIX : PREFIX + size].tobytes())
    return found


def to_levels(values: Values, low: float, high: float, bits: int) -> Levels:
    """The nearest of 2^bits evenly spaced levels; values outside the range the nearest end."""
    unit = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.floor(unit * (2**bits - 1) + 0.5).astype(np.uint16)


def from_levels(levels: np.ndarray[Any, Any], low: float, high: float, bits: int) -> Values:
    """The values that levels stand for."""
    return (low + levels.astype(np.float64) * ((high - low) / (2**bits - 1))).astype(np.float32)


def map_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """A sample as maps: how many, rows, columns. A vector is as many maps of one value."""
    if len(shape) < 2:
        return (math.prod(shape), 1, 1)
    return (math.prod(shape[:-2]), shape[-2], shape[-1])
