# SPDX-License-Identifier: Apache-2.0
"""Seeded inputs of a network: several samples, of values that its inputs may really have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc.arrays import Array
from splitc.errors import BadModelError
from splitc.ir.graph import Tensor

Shape = tuple[int, ...]
Generator = np.random.Generator
_CHANNELS = (1, 3, 4)
_SMALLEST_IMAGE = 8


@dataclass(frozen=True)
class Sample:
    """One value of every input.

    Args:
        name: What values they are, in words.
        arrays: By input name.
    """

    name: str
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class _Values:
    """Values of one kind: their name in words, and what draws them as any wider type."""

    name: str
    draw: Callable[[Generator, Shape], Array]


def seeded_inputs(
    inputs: Sequence[Tensor], seed: int, extents: Mapping[str, int] | None = None,
    settled: Mapping[str, Array] | None = None,
) -> dict[str, Array]:  # fmt: skip
    """Inputs that are the same everywhere: the first of `samples_of`.

    Floats are normal. Integers of one byte, pixels and quantised values, span their
    whole range; wider ones are places in the table they index, else 0 or 1.

    Args:
        inputs: Tensors with fixed shapes.
        seed: Of numpy's PCG64.
        extents: Of the tables that inputs index, by input name.
        settled: Values of the inputs that can have no other, by input name.

    Returns:
        Arrays by tensor name.

    Raises:
        BadModelError: numpy has no such element type.
    """
    extents, settled = extents or {}, settled or {}
    kinds = {t.name: _values(t, extents.get(t.name, 0)) for t in inputs} | _only(settled)
    return dict(_drawn(inputs, kinds, 0, np.random.PCG64(seed)).arrays)


def samples_of(
    inputs: Sequence[Tensor], extents: Mapping[str, int], seed: int,
    divisors: Collection[str] = (), settled: Mapping[str, Array] | None = None,
) -> tuple[Sample, ...]:  # fmt: skip
    """Samples of a network's inputs, the same everywhere, of every kind that fits each.

    Args:
        inputs: Tensors with fixed shapes.
        extents: Of the tables that inputs index, by input name.
        seed: Of numpy's PCG64.
        divisors: Names of the inputs whose quotients are integers: no 0 among their elements.
        settled: Values of the inputs that can have no other, by input name.

    Raises:
        BadModelError: numpy has no such element type.
    """
    kinds = {t.name: _values(t, extents.get(t.name, 0), t.name in divisors) for t in inputs}
    kinds |= _only(settled or {})
    count = max(map(len, kinds.values()), default=1)
    first = _drawn(inputs, kinds, 0, np.random.PCG64(seed))
    others = (_drawn(inputs, kinds, k, np.random.PCG64([seed, k])) for k in range(1, count))
    return (first, *others)


def _drawn(
    inputs: Sequence[Tensor], kinds: Mapping[str, Sequence[_Values]], k: int, bits: np.random.PCG64
) -> Sample:
    rng = np.random.Generator(bits)
    made: dict[str, Array] = {}
    names: dict[str, None] = {}
    for tensor in inputs:
        values = kinds[tensor.name][k % len(kinds[tensor.name])]
        names[values.name] = None
        drawn = values.draw(rng, tensor.static_shape)
        made[tensor.name] = np.asarray(drawn).astype(tensor.dtype)
    return Sample(f"{k} ({', '.join(names)})", made)


def _values(tensor: Tensor, extent: int, divides: bool = False) -> tuple[_Values, ...]:
    """What an input is tried with, by its element type, its shape, and what it is read for."""
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError as error:
        why = f"numpy has no {tensor.dtype}"
        raise BadModelError(f"no input can be made for '{tensor.name}'", why=why) from error
    if "float" in dtype.name:
        if divides:
            return _SCALES
        if extent:
            return _places(extent)
        return _IMAGES if _is_image(tensor.static_shape) else _NUMBERS
    if dtype.kind not in "iu":  # flags, and integers that numpy has from elsewhere, of 4 bits
        return _FLAGS
    if divides:
        return _divisors(signed=dtype.kind == "i")
    if extent:
        return _places(min(extent, int(np.iinfo(dtype).max) + 1))
    if dtype.itemsize == 1:
        return _levels(dtype)
    return (*_FLAGS, _Values("small numbers", _small(-4 if dtype.kind == "i" else 0)))


def _only(settled: Mapping[str, Array]) -> dict[str, tuple[_Values, ...]]:
    """The one value of each input that declared shapes leave no other."""

    def same(value: Array) -> Callable[[Generator, Shape], Array]:
        return lambda rng, shape: value

    return {name: (_Values("a settled size", same(value)),) for name, value in settled.items()}


def _is_image(shape: Shape) -> bool:
    """Whether a shape may be that of images, channels first or last."""
    if len(shape) < 3 or min(shape) < 1:
        return False
    first, last = shape[-3:], (shape[-1], *shape[-3:-1])
    # One sample of a sequence has a leading 1 that is no channel.
    orders = (first, last) if len(shape) > 3 or shape[0] != 1 else (last,)
    return any(c in _CHANNELS and min(h, w) >= _SMALLEST_IMAGE for c, h, w in orders)


def _normal(rng: Generator, shape: Shape) -> Array:
    """Nearly normal, within 6: a sum of twelve uniform numbers needs no logarithm that differs."""
    total = np.zeros(shape, np.int64)
    for _ in range(12):
        total += rng.integers(0, 2**16, shape, np.uint16)
    return (total - 6 * (2**16 - 1)) / 2**16


def _halves(rng: Generator, shape: Shape) -> Array:
    """Halves from -4 to 4: zeros, both signs, numbers between two whole ones, many equal."""
    return rng.integers(-8, 9, shape) / 2


def _unit(rng: Generator, shape: Shape) -> Array:
    """Steps of 1/255 from 0 to 1, both ends among them."""
    drawn = np.asarray(rng.integers(0, 256, shape), np.float64)
    if drawn.size > 1:
        drawn.reshape(-1)[[0, -1]] = 0, 255
    return drawn / 255


def _positive(rng: Generator, shape: Shape) -> Array:
    """Steps of 1/255 above 0: what takes a logarithm or divides stays finite."""
    return rng.integers(1, 256, shape) / 255


def _pixels(rng: Generator, shape: Shape) -> Array:
    """Whole numbers from 0 to 255, and as in a saturated image a first quarter that is equal."""
    drawn = np.asarray(rng.integers(0, 256, shape), np.float64)
    area = drawn[(..., *(slice(None, (n + 1) // 2) for n in shape[-2:]))]
    area[...] = 255
    return drawn


def _bits(rng: Generator, shape: Shape) -> Array:
    return rng.integers(0, 2, shape)


def _ones(rng: Generator, shape: Shape) -> Array:
    return np.ones(shape, np.int64)


def _prefix(rng: Generator, shape: Shape) -> Array:
    """The mask of a sequence: ones, then zeros in its last third."""
    made = np.ones(shape, np.int64)
    if shape:
        made[..., shape[-1] - shape[-1] // 3 :] = 0
    return made


def _small(lowest: int) -> Callable[[Generator, Shape], Array]:
    return lambda rng, shape: rng.integers(lowest, 10, shape)


def _levels(dtype: np.dtype[Any]) -> tuple[_Values, ...]:
    """Pixels and quantised values: the whole range of a byte, then its ends and near zero."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)

    def ends(rng: Generator, shape: Shape) -> Array:
        return np.array([low, 0, 1, high])[rng.integers(0, 4, shape)]

    return (
        _Values("bytes", lambda rng, shape: rng.integers(low, high + 1, shape)),
        _Values("a byte's ends", ends),
    )


def _divisors(*, signed: bool) -> tuple[_Values, ...]:
    """What integers are divided by: any but 0, of either sign where the type has one."""

    def below(end: int) -> Callable[[Generator, Shape], Array]:
        def draw(rng: Generator, shape: Shape) -> Array:
            made = np.asarray(rng.integers(1, end, shape))
            return np.where(rng.integers(0, 2, shape), -made, made) if signed else made

        return draw

    return (_Values("small divisors", below(10)), _Values("divisors", below(128)))


def _places(extent: int) -> tuple[_Values, ...]:
    """Indices: any, then a short sequence that is padded with 0 and holds the last place."""

    def padded(rng: Generator, shape: Shape) -> Array:
        drawn = np.asarray(rng.integers(0, extent, shape)) * _prefix(rng, shape)
        if drawn.size:
            drawn.reshape(-1)[0] = extent - 1
        return drawn

    return (
        _Values(f"places below {extent}", lambda rng, shape: rng.integers(0, extent, shape)),
        _Values("a padded sequence", padded),
    )


_SCALES = (_Values("0 to 1", _positive),)
_NUMBERS = (_Values("normal", _normal), _Values("halves", _halves), _Values("0 to 1", _positive))
_IMAGES = (_Values("normal", _normal), _Values("0 to 1", _unit), _Values("0 to 255", _pixels))
_FLAGS = (_Values("0 or 1", _bits), _Values("all 1", _ones), _Values("1, then 0", _prefix))
