# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: what the whole network makes of seeded inputs, written beside the parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splitc.arrays import Array
from splitc.bundle.difference import LOOSEST_TOLERANCE, TOLERANCE, difference
from splitc.bundle.samples import samples_of, seeded_inputs
from splitc.bundle.vectors import of_route
from splitc.errors import BadModelError
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layouts
from splitc.ir.model import Trainable
from splitc.passes.at_cut import Ready

if TYPE_CHECKING:
    from splitc.ir.model import Network

_MOST_BYTES = 64 * 2**20
"""Of all vectors; large networks get fewer samples."""


def tolerance_of(graph: LayerGraph) -> float:
    """The relative error that a network's results may have.

    A value half way between two integers may become either where floats are rounded. A float16
    step is 1e-3 of a value, which nobody who computes in float16 rounds at the same places.
    """
    rounds = ("quantizelinear", "qlinear", "qgemm")
    quantised = any(layer.op.startswith(rounds) for layer in graph.layers)
    return LOOSEST_TOLERANCE if quantised or _has_halves(graph) else TOLERANCE


def _has_halves(graph: LayerGraph) -> bool:
    return any(tensor.dtype == "float16" for tensor in graph.tensors.values())


@dataclass(frozen=True)
class Step:
    """A part by its reference: what it makes of what is there.

    Args:
        name: The part's.
        network: Its layers.
        stands_for: What others know tensors as that it makes, by its own names.
    """

    name: str
    network: Network
    stands_for: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def makes(self) -> tuple[str, ...]:
        """Names of what it makes, as others know them."""
        return tuple(self.stands_for.get(name, name) for name in self.network.graph.outputs)

    def run(self, known: Mapping[str, Array]) -> dict[str, Array]:
        """What it makes, by the names that others know."""
        made = self.network.run({t.name: known[t.name] for t in self.network.graph.inputs})
        return {self.stands_for.get(name, name): array for name, array in made.items()}


@dataclass(frozen=True)
class Way:
    """A route by its reference.

    Args:
        ready: The unsplit network.
        before: The parts before the link, in order.
        behind: The parts behind it, in order.
        layouts: How the tensors that cross lie.
    """

    ready: Ready
    before: tuple[Step, ...]
    behind: tuple[Step, ...]
    layouts: Layouts

    @property
    def results(self) -> tuple[str, ...]:
        """The network's results that are made behind the link, in the order that they are."""
        made = {name for step in self.before for name in step.makes}
        wanted = {*self.ready.model.graph.outputs} - made
        return tuple(name for step in self.behind for name in step.makes if name in wanted)


@dataclass(frozen=True)
class Golden:
    """What was written.

    Args:
        feeds: The samples: arrays by input name.
        received: The routes, by their places, that have vectors over the channel.
        notes: Samples that were left out, and why.
    """

    feeds: tuple[Mapping[str, Array], ...]
    received: frozenset[int]
    notes: tuple[str, ...]


def write_golden(folder: Path, whole: Network, ways: Sequence[Way], seed: int) -> Golden:
    """Write what `verify` compares with: inputs, what crosses, results of the unsplit network.

    Every file holds the samples along its first axis. What crosses is written for each route,
    and the results for each that has another network than the whole one. Where a network was
    trained over a channel at the cut, also what the tail gets over it and what it makes of
    that, by the tail's own reference.

    Args:
        folder: For the vectors.
        whole: The unsplit network: the one that the routes share, or that of the one there is.
        ways: The routes, in their order.
        seed: Of the inputs and of what channels draw.

    Raises:
        BadModelError: The network runs on no sample, or a result is NaN or infinite throughout.
    """
    kept, notes = _runs(whole, [t for way in ways for t in way.ready.cut.boundary], seed)
    # Each network's weights are held once more by what runs it: one at a time.
    whole.unload()
    feeds = tuple(feed for feed, _ in kept)
    _save(folder / "inputs", feeds)
    _save(folder / "outputs", [results for _, results in kept])
    crossing = crossing_of(ways, feeds)
    received: set[int] = set()
    for number, way in enumerate(ways):
        place = of_route(folder, number, len(ways))
        _save(place / "boundary", crossing[number])
        if way.ready.model is not whole:
            _save(place / "outputs", [way.ready.model.run(feed) for feed in feeds])
            way.ready.model.unload()
        if _save_received(place, way, feeds, seed):
            received.add(number)
    return Golden(feeds, frozenset(received), notes)


def crossing_of(
    ways: Sequence[Way], feeds: Sequence[Mapping[str, Array]],
    change: Callable[[Network], Network] = lambda network: network,
) -> list[list[dict[str, Array]]]:  # fmt: skip
    """What crosses on each route, of each sample.

    Args:
        ways: The routes.
        feeds: The samples: arrays by input name.
        change: Gives the network that is run in a part's place, one after the other.
    """
    made: dict[str, list[dict[str, Array]]] = {}
    found: list[list[dict[str, Array]]] = []
    for way in ways:
        known = [dict(feed) for feed in feeds]
        for step in way.before:
            if step.name not in made:
                changed = replace(step, network=change(step.network))
                made[step.name] = [changed.run(each) for each in known]
                changed.network.unload()
            known = [{**each, **new} for each, new in zip(known, made[step.name], strict=True)]
        names = [tensor.name for tensor in way.ready.cut.boundary]
        found.append([{name: each[name] for name in names} for each in known])
    return found


def _save_received(folder: Path, way: Way, feeds: Sequence[Mapping[str, Array]], seed: int) -> bool:
    """Write what is behind the link gets over the channels, and makes of it, if there are any."""
    received = _received(way.ready, feeds, way.layouts, seed)
    if not received:
        return False
    _save(folder / "received", received)
    known = [{**feed, **left} for feed, left in zip(feeds, received, strict=True)]
    for step in way.behind:
        known = [{**each, **step.run(each)} for each in known]
    results = [{name: each[name] for name in way.results} for each in known]
    _save(folder / "received_outputs", results)
    return True


Run = tuple[Mapping[str, Array], Mapping[str, Array]]


def _runs(
    model: Network, crossing: Sequence[Tensor], seed: int
) -> tuple[list[Run], tuple[str, ...]]:
    """Samples that the network runs on, with its results, and what to say of the others."""
    graph = model.graph
    tensors = (*graph.inputs, *graph.output_tensors, *crossing)
    count = max(1, _MOST_BYTES // max(1, sum(tensor.nbytes or 0 for tensor in tensors)))
    runs: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    steady, unsteady, partly = runs
    why: dict[str, str] = {}
    failed: BadModelError | None = None
    samples = samples_of(graph.inputs, model.index_extents, seed, model.divisors, model.settled)
    for sample in samples[:count]:
        try:
            results = model.run(sample.arrays)
        except BadModelError as error:
            failed = failed or error
            why[sample.name] = error.why or error.what
            continue
        rank, reason = _fitness(model, sample.arrays, results, seed)
        runs[rank].append((sample.arrays, results))
        if reason:
            why[sample.name] = reason
    if failed is not None and not any(runs):
        raise failed
    kept = steady or unsteady or [run for run in partly if _comparable(run)]
    if not kept:
        empty = next(n for n, a in partly[0][1].items() if a.size and not _finite(a).any())
        raise BadModelError(
            f"result '{empty}' has no finite element on seeded inputs",
            why="no comparison with NaN or infinity can verify the split",
        )
    said = why if steady else {}
    kept = _of_one_shape(kept)
    return kept, tuple(f"golden sample {name} is left out: {said[name]}" for name in said)


def _fitness(
    model: Network, feed: Mapping[str, Array], results: Mapping[str, Array], seed: int
) -> tuple[int, str]:
    """How well results can be compared with others', 0 the best, and why no better."""
    floats = {name: array for name, array in results.items() if array.dtype.kind == "f"}
    unfinite = next((name for name, array in floats.items() if not _finite(array).all()), None)
    if unfinite is not None:
        return 2, f"result '{unfinite}' has NaN or infinite elements"
    if _has_halves(model.graph):
        rng = np.random.Generator(np.random.PCG64(seed))
        near = [_scaled(feed, lambda a: 1 + rng.choice((-1, 1), a.shape) * _HALF_STEP)]
        compared, words = floats, "a step of float16 in its inputs moves"
    elif tolerance_of(model.graph) == TOLERANCE and _chooses(model.graph):
        # By one factor: numbers that are equal stay so, and only what is rounded changes.
        factors = (1 - _FLOAT_STEPS, 1 + _FLOAT_STEPS)
        near = [_scaled(feed, lambda _, factor=factor: factor) for factor in factors]
        compared, words = results, "a few steps of float32 in its inputs move"
    else:
        return 0, ""
    moved = next(filter(None, (_moved(model, each, compared) for each in near)), "")
    return (1, f"{words} result '{moved}' too far") if moved else (0, "")


def _chooses(graph: LayerGraph) -> bool:
    """Whether it makes whole numbers or flags of floats: which are larger, where the largest is."""
    floats = {name for name, tensor in graph.tensors.items() if "float" in tensor.dtype}
    return any(
        any(name in floats for name in layer.inputs)
        and any(made.name not in floats for made in layer.outputs)
        for layer in graph.layers
    )


def _scaled(
    feed: Mapping[str, Array], factor: Callable[[Array], float | Array]
) -> dict[str, Array]:
    """Floats among the inputs times a factor."""
    return {
        name: np.asarray(a * factor(a), a.dtype) if a.dtype.kind == "f" else a
        for name, a in feed.items()
    }


def _moved(model: Network, near: Mapping[str, Array], results: Mapping[str, Array]) -> str:
    """The result that no arithmetic in floats gives to within its tolerance; "" for none.

    What is computed in floats is what exact arithmetic gives of inputs some steps away, and
    two who round at different places are that far from each other: softmax of scores of 400,
    which lie 0.25 apart in float16, is off by a quarter, and of boxes that score alike but for
    rounding either may be the first.
    """
    made, tolerance = model.run(near), tolerance_of(model.graph)
    apart = [difference(name, made[name], a, tolerance) for name, a in results.items()]
    return next((one.name for one in apart if not one.near(tolerance)), "")


_HALF_STEP = float(np.finfo(np.float16).eps)
_FLOAT_STEPS = 8 * float(np.finfo(np.float32).eps)
"""About what the layers of a network round away, one with another."""


def _of_one_shape(runs: list[Run]) -> list[Run]:
    """The runs that go together in one array: where extents hang on the data, the largest."""
    shapes = [tuple(array.shape for array in results.values()) for _, results in runs]
    largest = max(shapes, key=lambda each: sum(math.prod(shape) for shape in each))
    return [run for run, each in zip(runs, shapes, strict=True) if each == largest]


def _finite(array: Array) -> Array:
    """Where an array is finite; anything but floats is."""
    return np.isfinite(array) if array.dtype.kind == "f" else np.ones(array.shape, bool)


def _comparable(run: Run) -> bool:
    """Whether every result has something to compare."""
    return all(_finite(array).any() for array in run[1].values() if array.size)


def _received(
    ready: Ready, feeds: Sequence[Mapping[str, Array]], layouts: Layouts, seed: int
) -> list[dict[str, Array]]:
    """What the tail gets over the channels; empty where there are none at the cut."""
    if not isinstance(ready.noisy, Trainable) or ready.noisy.cut is None:
        return []
    received: list[dict[str, Array]] = []
    for feed in feeds:
        left = ready.noisy.received(feed, ready.noisy.cut, seed)
        if left is None:
            return []
        received.append(
            {
                n: a.transpose(0, 2, 3, 1) if layouts.get(n) == "channels-last" else a
                for n, a in left.items()
            }
        )
    return received


def _save(folder: Path, samples: Sequence[Mapping[str, Array]]) -> None:
    if not samples[0]:
        return
    folder.mkdir(parents=True)
    for k, name in enumerate(samples[0]):
        np.save(folder / f"{k}.npy", np.stack([sample[name] for sample in samples]))


__all__ = ["LOOSEST_TOLERANCE", "TOLERANCE", "Array", "Golden", "Step", "Way", "crossing_of",
           "seeded_inputs", "tolerance_of", "write_golden"]  # fmt: skip
