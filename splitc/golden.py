# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: seeded inputs, and how far a result may be from the reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from splitc.errors import BadModelError
from splitc.graph import LayerGraph, Tensor

if TYPE_CHECKING:
    from splitc.codec import Ready
    from splitc.model import Network

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = 1e-3
LOOSEST_TOLERANCE = 1e-2
"""Of results that were rounded on their way: to one of 255 steps, or layer by layer to float16."""


def tolerance_of(graph: LayerGraph) -> float:
    """The relative error that a network's results may have.

    A value half way between two integers may become either where floats are rounded. A float16
    step is 1e-3 of a value, which nobody who computes in float16 rounds at the same places.
    """
    rounds = ("quantizelinear", "qlinear", "qgemm")
    quantised = any(layer.op.startswith(rounds) for layer in graph.layers)
    half = any(tensor.dtype == "float16" for tensor in graph.tensors.values())
    return LOOSEST_TOLERANCE if quantised or half else TOLERANCE


def seeded_inputs(inputs: Sequence[Tensor], seed: int) -> dict[str, Array]:
    """Inputs that are the same everywhere.

    Floats are normal. Integers of one byte, pixels and quantised values, span their
    whole range; wider ones, which may be indices, are 0 or 1.

    Args:
        inputs: Tensors with fixed shapes.
        seed: Of numpy's PCG64.

    Returns:
        Arrays by tensor name.

    Raises:
        BadModelError: numpy has no such element type.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    made: dict[str, Array] = {}
    for tensor in inputs:
        shape = tensor.static_shape
        try:
            dtype = np.dtype(tensor.dtype)
        except TypeError as error:
            why = f"numpy has no {tensor.dtype}"
            raise BadModelError(f"no input can be made for '{tensor.name}'", why=why) from error
        if dtype.kind == "f":
            made[tensor.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            made[tensor.name] = rng.integers(0, 2, shape).astype(bool)
        elif dtype.itemsize == 1:
            limits = np.iinfo(dtype)
            made[tensor.name] = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
        else:
            made[tensor.name] = rng.integers(0, 2, shape).astype(dtype)
    return made


def write_golden(
    folder: Path, ready: Ready, head: Network, tail: Network, maps: Collection[str], seed: int
) -> bool:
    """Write what `verify` compares with: inputs, what crosses, results of the unsplit network.

    Where the network was trained over a channel at the cut, also what the tail gets over it
    and what it makes of that, by the tail's own reference.

    Args:
        folder: For the vectors.
        ready: The unsplit network.
        head: Its head.
        tail: Its tail.
        maps: Boundary tensors that cross channels-last.
        seed: Of the inputs and of what channels draw.

    Returns:
        Whether there are vectors over the channel.

    Raises:
        BadModelError: A result is NaN or infinite throughout.
    """
    feed = seeded_inputs(ready.model.graph.inputs, seed)
    outputs = ready.model.run(feed)
    for name, array in outputs.items():
        if array.dtype.kind == "f" and array.size and not np.isfinite(array).any():
            raise BadModelError(
                f"result '{name}' has no finite element on seeded inputs",
                why="no comparison with NaN or infinity can verify the split",
            )
    made = {**feed, **head.run({n: feed[n] for n in (t.name for t in head.graph.inputs)})}
    crossing = {t.name: made[t.name] for t in ready.cut.boundary}
    _save(folder / "inputs", feed)
    _save(folder / "boundary", crossing)
    _save(folder / "outputs", outputs)
    received = _received(ready, feed, seed)
    if received is None:
        return False
    received = {n: a.transpose(0, 2, 3, 1) if n in maps else a for n, a in received.items()}
    known = {**feed, **received}
    _save(folder / "received", received)
    entries = {tensor.name: known[tensor.name] for tensor in tail.graph.inputs}
    _save(folder / "received_outputs", tail.run(entries))
    return True


def _received(ready: Ready, feed: Mapping[str, Array], seed: int) -> dict[str, Array] | None:
    from splitc.codec import Trainable

    if not isinstance(ready.noisy, Trainable) or ready.noisy.cut is None:
        return None
    return ready.noisy.received(feed, ready.noisy.cut, seed)


def _save(folder: Path, arrays: Mapping[str, Array]) -> None:
    folder.mkdir(parents=True)
    for k, array in enumerate(arrays.values()):
        np.save(folder / f"{k}.npy", np.ascontiguousarray(array).reshape(array.shape))


@dataclass(frozen=True)
class Difference:
    """How far a tensor is from its reference.

    Args:
        name: The tensor.
        relative: Largest absolute difference over the reference's range.
        same_argmax: Whether the largest element is at the same place.
    """

    name: str
    relative: float
    same_argmax: bool

    def within(self, tolerance: float) -> bool:
        """Whether it may pass."""
        return self.relative <= tolerance and self.same_argmax


def difference(name: str, got: Array, reference: Array) -> Difference:
    """Compare a result with its reference.

    The range is the reference's largest minus smallest element; where it is 0,
    its largest magnitude, or 1. Results of other shape, or that are finite where
    the reference is not, are infinitely far. Arg-max is over the last axis for
    tables (two axes), else over all elements; only for floats.
    """
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return Difference(name, float("inf"), False)
    if reference.size == 0:
        return Difference(name, 0.0, True)
    if reference.dtype.kind != "f":
        same = np.array_equal(got, reference)
        return Difference(name, 0.0 if same else float("inf"), same)
    left, right = got.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)) or not np.array_equal(
        left[~finite], right[~finite], equal_nan=True
    ):
        return Difference(name, float("inf"), False)
    if not finite.any():
        return Difference(name, 0.0, True)
    spread = float(np.ptp(right[finite])) or float(np.abs(right[finite]).max()) or 1.0
    relative = float(np.abs(left[finite] - right[finite]).max()) / spread
    axis = -1 if reference.ndim == 2 else None
    same = np.array_equal(
        np.argmax(np.where(finite, left, -np.inf), axis=axis),
        np.argmax(np.where(finite, right, -np.inf), axis=axis),
    )
    return Difference(name, relative, bool(same))


def quantised_difference(name: str, got: Array, reference: Array) -> Difference:
    """Compare integers that a codec's quantiser made of numbers that were equal enough.

    A number between two levels may be rounded either way, and in packed bits that is another
    byte; so the error is the mean of the differences over the element type's range. Where one
    element alone differs it is a mean over a thousand at least, so that it never decides.
    """
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return Difference(name, float("inf"), False)
    limits = np.iinfo(reference.dtype)
    apart = np.abs(got.astype(np.float64) - reference.astype(np.float64))
    span = float(limits.max) - float(limits.min)
    count = max(reference.size, 1000 if np.count_nonzero(apart) == 1 else 1)
    return Difference(name, float(apart.sum()) / (span * count), not apart.any())
