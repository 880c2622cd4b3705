# SPDX-License-Identifier: Apache-2.0
"""What rounding alone makes of a network's results: how well a sample can be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np

from splitc.arrays import Array, nudged
from splitc.bundle.difference import difference
from splitc.bundle.golden import Way, crossing_of
from splitc.runtime.manifest_checks import MOST_ROUNDING

if TYPE_CHECKING:
    from splitc.ir.model import Network
    from splitc.runtime.manifest import Manifest

_DRAWS = 3
_MARGIN = 8
"""Fast algorithms, Winograd's and Strassen's, round several times as much as the reference."""
_LEAST = 1e-5
"""Of a tensor's range: less hides in what every comparison allows."""


def rounding_of(
    whole: Network, ways: Sequence[Way], feeds: Sequence[Mapping[str, Array]], seed: int
) -> dict[str, tuple[float, ...]]:
    """How far rounding may move each result, and each tensor that crosses, in each sample.

    The reference runs with every weight and every fraction among its inputs a step or two of
    float32 off. How far that moves it is how far two are from each other who round at
    different places, and no farther does a sample tell right from wrong: what is small beside
    what it is the difference of, which of two is larger that are equal but for rounding.
    Nothing that was compiled is asked, so that no fault of it excuses itself.

    Args:
        whole: The unsplit network.
        ways: The routes, in their order.
        feeds: The samples: arrays by input name.
        seed: Of what is drawn.

    Returns:
        By tensor the relative difference that each sample may have, to one digit. Tensors are
        left out that rounding moves by too little in every sample.

    Raises:
        BadModelError: The network does not run.
    """
    exact = _made(whole, ways, feeds, lambda network: network)
    moved: dict[str, list[float]] = {}
    for draw in range(_DRAWS):
        change = methodcaller("nudged", seed + draw)
        near = _made(whole, ways, _near(whole, feeds, seed + draw), change)
        for (name, there), (_, here) in zip(near, exact, strict=True):
            apart = [_apart(name, a, b) for a, b in zip(there, here, strict=True)]
            known = moved.setdefault(name, apart)
            moved[name] = [max(pair) for pair in zip(known, apart, strict=True)]
    allowed = {name: tuple(map(_allowed, each)) for name, each in moved.items()}
    return {name: each for name, each in allowed.items() if any(each)}


def unsteady_samples(manifest: Manifest) -> tuple[str, ...]:
    """What to know of the samples that rounding moves, a line a tensor."""
    results = {spec.name for spec in manifest.source.outputs}
    return tuple(
        f"{'result' if name in results else 'crossing tensor'} '{name}': rounding alone may make"
        f" {_listed(rounding)} of its range on golden {_places(rounding)} of {len(rounding)};"
        " so much is allowed there"
        for name, rounding in (manifest.rounding or {}).items()
    )


def _listed(rounding: Sequence[float]) -> str:
    least, most = min(filter(None, rounding)), max(rounding)
    return f"{most:.0e}" if least == most else f"{least:.0e} to {most:.0e}"


def _places(rounding: Sequence[float]) -> str:
    places = [str(k + 1) for k, each in enumerate(rounding) if each]
    return f"sample{'s' * (len(places) > 1)} {' and '.join(places)}"


def _apart(name: str, moved: Array, exact: Array) -> float:
    """How far a tensor was moved; not nothing where another element has become the largest."""
    found = difference(name, moved, exact)
    return found.relative if found.same_argmax else max(found.relative, _LEAST / _MARGIN)


def _allowed(moved: float) -> float:
    """What is allowed where rounding was seen to move so much: 0 where that is nothing much."""
    allowed = _MARGIN * moved
    return min(MOST_ROUNDING, float(f"{allowed:.0e}")) if allowed >= _LEAST else 0.0


def _near(
    whole: Network, feeds: Sequence[Mapping[str, Array]], seed: int
) -> list[dict[str, Array]]:
    """The samples with fractions nudged: whole numbers may be counts, places or pixels."""
    rng = np.random.Generator(np.random.PCG64(seed))
    fixed = {*whole.index_extents, *whole.divisors, *whole.settled}

    def moves(name: str, array: Array) -> bool:
        return (
            name not in fixed and array.dtype.kind == "f" and bool((array != np.rint(array)).any())
        )

    return [{n: nudged(a, rng) if moves(n, a) else a for n, a in feed.items()} for feed in feeds]


Made = list[tuple[str, list[Array]]]


def _made(
    whole: Network, ways: Sequence[Way], feeds: Sequence[Mapping[str, Array]],
    change: Callable[[Network], Network],
) -> Made:  # fmt: skip
    """Results and what crosses, of all samples, each network of the routes changed."""
    networks = {id(network): network for network in (whole, *(way.ready.model for way in ways))}
    found = [one for each in networks.values() for one in _results(change(each), feeds)]
    for way, samples in zip(ways, crossing_of(ways, feeds, change), strict=True):
        crossing = [tensor.name for tensor in way.ready.cut.boundary]
        found += [(name, [each[name] for each in samples]) for name in crossing]
    return found


def _results(network: Network, feeds: Sequence[Mapping[str, Array]]) -> Made:
    runs = [network.run(feed) for feed in feeds]
    network.unload()
    return [(name, [run[name] for run in runs]) for name in network.graph.outputs]
