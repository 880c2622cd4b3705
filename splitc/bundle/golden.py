# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: what the whole network makes of seeded inputs, written beside the parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splitc.arrays import Array
from splitc.bundle.difference import LOOSEST_TOLERANCE, TOLERANCE, difference
from splitc.bundle.samples import samples_of, seeded_inputs
from splitc.errors import BadModelError
from splitc.ir.graph import LayerGraph
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
class Golden:
    """What was written.

    Args:
        feeds: The samples: arrays by input name.
        received: Whether there are vectors over the channel.
        notes: Samples that were left out, and why.
    """

    feeds: tuple[Mapping[str, Array], ...]
    received: bool
    notes: tuple[str, ...]


def write_golden(
    folder: Path, ready: Ready, head: Network, tail: Network, layouts: Layouts, seed: int
) -> Golden:
    """Write what `verify` compares with: inputs, what crosses, results of the unsplit network.

    Every file holds the samples along its first axis. Where the network was trained over a
    channel at the cut, also what the tail gets over it and what it makes of that, by the
    tail's own reference.

    Args:
        folder: For the vectors.
        ready: The unsplit network.
        head: Its head.
        tail: Its tail.
        layouts: How the tensors that cross lie.
        seed: Of the inputs and of what channels draw.

    Raises:
        BadModelError: The network runs on no sample, or a result is NaN or infinite throughout.
    """
    kept, notes = _runs(ready, seed)
    # Each network's weights are held once more by what runs it: one at a time.
    ready.model.unload()
    feeds = tuple(feed for feed, _ in kept)
    crossing: list[dict[str, Array]] = []
    for feed in feeds:
        made = {**feed, **head.run({t.name: feed[t.name] for t in head.graph.inputs})}
        crossing.append({t.name: made[t.name] for t in ready.cut.boundary})
    head.unload()
    _save(folder / "inputs", feeds)
    _save(folder / "boundary", crossing)
    _save(folder / "outputs", [results for _, results in kept])
    received = _received(ready, feeds, layouts, seed)
    if received:
        _save(folder / "received", received)
        known = [{**feed, **left} for feed, left in zip(feeds, received, strict=True)]
        entries = [t.name for t in tail.graph.inputs]
        _save(folder / "received_outputs", [tail.run({n: k[n] for n in entries}) for k in known])
    return Golden(feeds, bool(received), notes)


Run = tuple[Mapping[str, Array], Mapping[str, Array]]


def _runs(ready: Ready, seed: int) -> tuple[list[Run], tuple[str, ...]]:
    """Samples that the network runs on, with its results, and what to say of the others."""
    graph = ready.model.graph
    tensors = (*graph.inputs, *graph.output_tensors, *ready.cut.boundary)
    count = max(1, _MOST_BYTES // max(1, sum(tensor.nbytes or 0 for tensor in tensors)))
    runs: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    steady, unsteady, partly = runs
    why: dict[str, str] = {}
    failed: BadModelError | None = None
    model = ready.model
    for sample in samples_of(graph.inputs, model.index_extents, seed, model.divisors)[:count]:
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
    moved = _moved_by_a_step(model, feed, floats, seed) if _has_halves(model.graph) else ""
    return (
        (1, f"a step of float16 in its inputs moves result '{moved}' too far") if moved else (0, "")
    )


def _moved_by_a_step(
    model: Network, feed: Mapping[str, Array], floats: Mapping[str, Array], seed: int
) -> str:
    """The result that no arithmetic in float16 gives to within its tolerance; "" for none.

    What is computed in float16 is what exact arithmetic gives of inputs some steps away, and
    two who round at different places are that far from each other: softmax of scores of 400,
    which lie 0.25 apart, is off by a quarter.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    near = {
        name: (a * (1 + rng.choice((-1, 1), a.shape) * _STEP)).astype(a.dtype)
        if a.dtype.kind == "f" else a
        for name, a in feed.items()
    }  # fmt: skip
    made = model.run(near)
    apart = [difference(name, made[name], a, LOOSEST_TOLERANCE) for name, a in floats.items()]
    return next((one.name for one in apart if not one.near(LOOSEST_TOLERANCE)), "")


_STEP = float(np.finfo(np.float16).eps)


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
    folder.mkdir(parents=True)
    for k, name in enumerate(samples[0]):
        np.save(folder / f"{k}.npy", np.stack([sample[name] for sample in samples]))


__all__ = ["LOOSEST_TOLERANCE", "TOLERANCE", "Array", "Golden", "seeded_inputs", "tolerance_of",
           "write_golden"]  # fmt: skip
