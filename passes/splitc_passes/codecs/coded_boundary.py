# SPDX-License-Identifier: Apache-2.0
"""What the baselines that send a general-purpose coder's bytes have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from splitc.arrays import Array
from splitc.errors import PassError, UsageError
from splitc.ir.chain import Insertion
from splitc.ir.cut import Cut
from splitc.ir.graph import Tensor
from splitc.ir.model import Model
from splitc.passes.base import Pass
from splitc.passes.crossing import crossing_tensor
from splitc_passes.codecs.value_range import calibrate, check_range, range_of, told_range, values_of

if TYPE_CHECKING:
    from torch import nn

    from splitc_passes.layers.coded import Code

M = TypeVar("M", bound=Model)
C = TypeVar("C", bound="CodedBoundary")

PREFIX = 4
"""Bytes in front of a sample's that say how many those are."""
MARGIN = 1.25
"""Room for samples that take more bytes than any of the examples."""


@dataclass(frozen=True)
class CodedBoundary(Pass):
    """Send what crosses the cut as the bytes of a coder: `t.encoded`, then `t.restored`.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        low: The value of the first level; None where the layer tells.
        high: The value of the last level; None where the layer tells.
        capacity: Bytes that cross for a sample: 4 that say how many are used, those, zeros.
            0 until `calibrated_with` finds it.
    """

    coder: ClassVar[str]

    cut: str = ""
    low: float | None = None
    high: float | None = None
    capacity: int = 0

    def check_options(self) -> None:
        """Raise where the coder's own options are out of range."""

    def code(self, shape: tuple[int, ...], low: float, high: float) -> Code:
        """The coder of samples of a shape."""
        raise NotImplementedError

    def layers(self, code: Code, dtype: str) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder."""
        raise NotImplementedError

    def requires(self, model: Model) -> None:
        """One floating-point tensor of samples crosses, and range and capacity are known."""
        self.check_options()
        tensor = crossing_tensor(model, self.cut)
        self._check_samples(tensor)
        check_range(*range_of(model.graph, tensor.name, self.low, self.high))
        if self.capacity == 0:
            hint = "give capacity in bytes, or find it from examples with calibrated_with"
            raise PassError(f"nothing tells how many bytes '{tensor.name}' takes", hint=hint)
        if not PREFIX < self.capacity < 2**31:
            raise UsageError(f"capacity {self.capacity} is not in {PREFIX + 1} to 2^31 - 1")

    def apply(self, model: M) -> M:
        """The model with encoder and decoder, cut between them."""
        tensor = crossing_tensor(model, self.cut)
        shape, dtype = tensor.static_shape, tensor.dtype
        code = range_of(model.graph, tensor.name, self.low, self.high)

        def encoder() -> Sequence[nn.Module]:
            return self.layers(self.code(shape[1:], *code), dtype)[:1]

        def decoder() -> Sequence[nn.Module]:
            return self.layers(self.code(shape[1:], *code), dtype)[1:]

        crossing = (shape[0], self.capacity)
        chain = (
            Insertion("encoded", f"{self.coder}_encode", crossing, "uint8", modules=encoder),
            Insertion("restored", f"{self.coder}_decode", shape, dtype, modules=decoder),
        )
        made = model.insert(tensor.name, chain)
        return made.with_cut(Cut.sending(made.graph, f"{tensor.name}.encoded"))

    def calibrated(self: C, model: Model, batches: Sequence[Mapping[str, Array]] | None) -> C:
        """The pass with range and capacity from examples; None for any that could be."""
        if batches is not None:
            return self.calibrated_with(model, batches)
        tensor = crossing_tensor(model, self.cut)
        self._check_samples(tensor)
        raw = PREFIX + (tensor.elements or 0) // tensor.static_shape[0]
        low, high = told_range(model.graph, tensor.name, self.low, self.high)
        return replace(
            self, capacity=self.capacity or raw,
            low=0.0 if low is None else low, high=1.0 if high is None else high,
        )  # fmt: skip

    def calibrated_with(
        self: C, model: Model, batches: Iterable[Mapping[str, Array]], margin: float = MARGIN
    ) -> C:
        """The pass with the range that examples show, and room for the bytes that they take.

        Args:
            model: What it will be applied to, with weights.
            batches: See `value_range.seen_range`.
            margin: The capacity over what the largest example takes, from 1.

        Raises:
            UsageError: See `value_range.seen_range`; or `margin` is below 1.
            BadModelError: A value is not finite, or the model does not run.
            IllegalCutError: The pass's cut is not one.
        """
        if not 1 <= margin < 2**31:
            raise UsageError(f"margin {margin:g} is below 1")
        self.check_options()
        examples = list(batches)
        tensor = crossing_tensor(model, self.cut)
        self._check_samples(tensor)
        known = told_range(model.graph, tensor.name, self.low, self.high)
        one = calibrate(self, model, examples) if None in known else self
        if self.capacity:
            return one
        low, high = range_of(model.graph, tensor.name, one.low, one.high)
        code = self.code(tensor.static_shape[1:], low, high)
        taken = [
            len(code.encode(sample.astype(np.float32)))
            for values in values_of(model, tensor.name, examples)
            for sample in values
        ]
        if not taken:
            raise UsageError("there are no examples to calibrate with")
        return replace(one, capacity=PREFIX + int(np.ceil(max(taken) * margin)))

    def _check_samples(self, tensor: Tensor) -> None:
        shape = tensor.static_shape
        if len(shape) < 2 or 0 in shape:
            raise UsageError(
                f"'{tensor.name}' is no batch of samples", why=f"its shape is {list(shape)}"
            )
