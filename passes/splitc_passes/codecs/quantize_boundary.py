# SPDX-License-Identifier: Apache-2.0
"""The pass `quantize-boundary`: whole levels of a few bits cross the link."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from splitc.arrays import Array
from splitc.errors import PassError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.model import Model
from splitc.passes.base import Pass
from splitc.passes.crossing import crossing_tensor
from splitc_passes.codecs.bit_packing import packed_bytes
from splitc_passes.codecs.quantiser import check_bits, quantising
from splitc_passes.codecs.value_range import calibrate, check_range, range_of, told_range

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class QuantizeBoundary(Pass):
    """Send what crosses the cut as whole levels of a few bits, evenly spaced; no training.

    Rewrite, at 8 bits::

        %t = conv(%x)            %t = conv(%x)
        %y = relu(%t)     ->     %t.unit = hardsigmoid(%t)         (t - low) / (high - low)
                                 %t.scaled = mul(%t.unit)          levels
                                 %t.shifted = add(%t.scaled)       and a half
                                 %t.levels = cast(%t.shifted)      uint8; crosses
                                 %t.floats = cast(%t.levels)
                                 %t.steps = mul(%t.floats)
                                 %t.restored = add(%t.steps)
                                 %y = relu(%t.restored)

    At other widths the levels are packed before they cross, and unpacked behind:
    ceil(bits * elements / 8) bytes a sample, %t.levels being uint8 [N, bytes] whatever the
    tensor's shape, elements in its order, the lowest bit first. The arithmetic is exact in
    fp32. Values within [low, high] come back at most half a step (high - low) / (2^bits - 1)
    off; those outside come back as low or high. Halves are rounded up.

    The model is cut at the levels. The shapes that readers see are unchanged. FLOPs: 7 for
    each element, and a few more for each bit where levels are packed.

    In training the gradient passes straight through rounding, and is zero where a value lies
    outside the range; packing is left out while something is trained through it.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        bits: Bits of a level, 1 to 16.
        low: The value of level 0; None where the layer tells (a sigmoid's is 0).
        high: The value of the last level; None where the layer tells (a sigmoid's is 1).
            `calibrate` of value_range.py finds both from examples.

    Raises:
        IllegalCutError: `cut` is not in the graph, or nothing reads its output, or an edge
            goes round it, or what crosses is not floating-point.
        UsageError: `bits` is outside 1 to 16, or `low` is not below `high`.
        PassError: Nothing tells the range.
    """

    name: ClassVar[str] = "quantize-boundary"

    cut: str = ""
    bits: int = 8
    low: float | None = None
    high: float | None = None

    def calibrated(
        self, model: Model, batches: Sequence[Mapping[str, Array]] | None
    ) -> QuantizeBoundary:
        """The pass with the range of what crosses, where neither it nor the layer tells one.

        Args:
            model: What it will be applied to.
            batches: See `seen_range`; None for any range at all.
        """
        tensor = crossing_tensor(model, self.cut)
        if None not in told_range(model.graph, tensor.name, self.low, self.high):
            return self
        if batches is None:
            return replace(self, low=0.0, high=1.0)
        return calibrate(self, model, batches)

    def requires(self, model: Model) -> None:
        """One floating-point tensor crosses the cut, and its range is known."""
        check_bits(self.bits)
        tensor = crossing_tensor(model, self.cut)
        if 0 in tensor.static_shape:
            raise UsageError(f"'{tensor.name}' has no elements to send")
        check_range(*range_of(model.graph, tensor.name, self.low, self.high))

    def apply(self, model: M) -> M:
        """The model with the layers, cut at the levels."""
        tensor = crossing_tensor(model, self.cut)
        low, high = range_of(model.graph, tensor.name, self.low, self.high)
        chain = quantising(tensor.static_shape, tensor.dtype, self.bits, low, high)
        made = model.insert(tensor.name, chain)
        return made.with_cut(Cut.sending(made.graph, f"{tensor.name}.levels"))

    def ensures(self, before: Model, after: Model) -> None:
        """What crosses has as many bytes as its bits need."""
        shape = crossing_tensor(before, self.cut).static_shape
        samples = shape[0] if len(shape) > 1 else 1
        wanted = samples * packed_bytes(self.bits, math.prod(shape) // samples)
        got = after.cut.boundary_bytes if after.cut else None
        if got != wanted:
            raise PassError(f"{got} bytes cross", why=f"{self.bits}-bit levels take {wanted}")
