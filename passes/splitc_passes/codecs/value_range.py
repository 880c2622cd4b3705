# SPDX-License-Identifier: Apache-2.0
"""Between which values a tensor lies: told by its layer, or found from examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from splitc.arrays import Array
from splitc.errors import BadModelError, PassError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.model import Model
from splitc.passes.crossing import crossing_tensor

_KNOWN = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "softmax": (0.0, 1.0)}
_SAMPLED = 65_536
"""Values of one example that a percentile is taken of, evenly spread over it."""


class Ranged(Protocol):
    """A pass with a range: a dataclass with these fields."""

    @property
    def cut(self) -> str:
        """The layer that it cuts after."""
        ...

    @property
    def low(self) -> float | None:
        """The lowest value."""
        ...

    @property
    def high(self) -> float | None:
        """The highest value."""
        ...


R = TypeVar("R", bound=Ranged)


def told_range(
    graph: LayerGraph, tensor: str, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """The range that is given, or else the one that the tensor's layer tells; None for neither."""
    known = _KNOWN.get(graph.layers[graph.producer[tensor]].op, (None, None))
    return low if low is not None else known[0], high if high is not None else known[1]


def range_of(
    graph: LayerGraph, tensor: str, low: float | None, high: float | None
) -> tuple[float, float]:
    """The range that is given, or else the one that the tensor's layer tells.

    Raises:
        PassError: Neither tells.
    """
    low, high = told_range(graph, tensor, low, high)
    if low is None or high is None:
        raise PassError(
            f"nothing tells between which values '{tensor}' lies",
            hint="give low and high, or find them from examples with calibrate",
        )
    return low, high


def check_range(low: float, high: float) -> None:
    """Refuse a range that fp32 cannot be divided in.

    Raises:
        UsageError: It is empty, not finite, or narrower than fp32 tells apart.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"the range {low:g} to {high:g} is not finite")
    if not low < high:
        raise UsageError(f"low {low:g} is not below high {high:g}")
    widest, span = float(np.finfo(np.float32).max), high - low
    narrow = 1 / span > widest or np.float32(low) == np.float32(high)
    if narrow or span > widest or max(abs(low), abs(high)) / span > widest:
        raise UsageError(f"fp32 cannot divide the range {low:g} to {high:g}")


def seen_range(
    model: Model, tensor: str, batches: Iterable[Mapping[str, Array]], percentile: float = 100.0
) -> tuple[float, float]:
    """The lowest and highest value that a tensor takes on examples.

    Args:
        model: With weights.
        tensor: The tensor's name.
        batches: Arrays by input name, each of the input's shape, or several: along one more
            leading axis, or in place of a first extent of 1.
        percentile: Share of the values that lie within, in (0, 100]; the others are outside
            by halves on either side. Below 100 it is estimated from 65,536 values of each.

    Raises:
        UsageError: The percentile is out of range, there is no batch, or one does not fit.
        BadModelError: A value is not finite.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"percentile {percentile:g} is not in (0, 100]")
    seen: list[Array] = []
    for values in values_of(model, tensor, batches):
        found = np.ravel(values).astype(np.float64)
        if not np.isfinite(found).all():
            raise BadModelError(f"'{tensor}' has values that are not finite on the examples")
        if percentile == 100:
            found = np.array([found.min(), found.max()])
        seen.append(found[:: -(-found.size // _SAMPLED)])
    if not seen:
        raise UsageError("there are no examples to calibrate with")
    outside = (100 - percentile) / 2
    low, high = np.percentile(np.concatenate(seen), [outside, 100 - outside])
    return float(low), float(high)


def calibrate(
    one: R, model: Model, batches: Iterable[Mapping[str, Array]], percentile: float = 100.0
) -> R:
    """A pass with the range that examples show.

    Args:
        one: The pass.
        model: What it will be applied to, with weights.
        batches: See `seen_range`.
        percentile: See `seen_range`.

    Raises:
        UsageError: See `seen_range`; or the tensor is the same value everywhere.
        BadModelError: A value is not finite, or the model does not run.
        IllegalCutError: The pass's cut is not one.
    """
    tensor = crossing_tensor(model, one.cut)
    low, high = seen_range(model, tensor.name, batches, percentile)
    if low == high:
        raise UsageError(f"'{tensor.name}' is {low:g} everywhere on the examples")
    return replace(one, low=low, high=high)  # type: ignore[type-var]


def values_of(model: Model, tensor: str, batches: Iterable[Mapping[str, Array]]) -> Iterator[Array]:
    """What a tensor holds for each of the examples; see `seen_range`."""
    head, _ = model.split(Cut.sending(model.graph, tensor))
    inputs = head.graph.inputs
    for batch in batches:
        for name in (t.name for t in inputs):
            if name not in batch:
                raise UsageError(f"the examples have no array for input '{name}'")
        counts = {_count(t, batch[t.name]) for t in inputs}
        if len(counts) != 1:
            raise UsageError("the examples have different numbers of samples for different inputs")
        for sample in range(counts.pop()):
            feed = {t.name: _sample(t, batch[t.name], sample) for t in inputs}
            yield head.run(feed)[tensor]


def _count(tensor: Tensor, array: Array) -> int:
    """How many times an array holds what an input takes."""
    shape = tensor.static_shape
    if array.shape == shape:
        return 1
    if array.shape[1:] == shape or (shape[:1] == (1,) and array.shape[1:] == shape[1:]):
        return len(array)
    raise _misfit(tensor, array.shape)


def _misfit(tensor: Tensor, shape: Sequence[int]) -> UsageError:
    given, wanted = ("x".join(map(str, s)) for s in (shape, tensor.static_shape))
    return UsageError(f"an example for '{tensor.name}' is {given}", why=f"the model takes {wanted}")


def _sample(tensor: Tensor, array: Array, sample: int) -> Array:
    if array.shape == tensor.static_shape:
        one = array
    else:
        one = array[sample].reshape(tensor.static_shape)
    return np.ascontiguousarray(one, dtype=np.dtype(tensor.dtype))
