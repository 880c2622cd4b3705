# SPDX-License-Identifier: Apache-2.0
"""What a codec costs, or quantising: the changed network against the one that was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.errors import UsageError
from splitc.ir.model import Network
from splitc.passes.agreement import Agreement, classes_of
from splitc.runtime.codec_entry import CodecCost, Cost, QuantizedEntry


@dataclass
class _Hits:
    """How many labels each network gives; the result that they are labels of."""

    labels: Array
    result: str = ""
    coded: int = 0
    given: int = 0
    places: int = field(default=0)


def codec_cost(
    coded: Network, given: Network, samples: Sequence[Arrays], labels: Array | None, *, golden: bool
) -> CodecCost:
    """Run both networks on samples, and count.

    Args:
        coded: The network with the codec inside.
        given: The network without.
        samples: Arrays by input name.
        labels: The right class of each sample, or of each of its places; None where not known.
        golden: Whether the samples are the golden ones, not a user's.

    Returns:
        For each result of floats the root mean square of the difference over that of the
        given network's result, and how many arg-max are the same; with labels the accuracy
        of both, by the first result that they fit.

    Raises:
        UsageError: The labels fit no result.
    """
    names = [t.name for t in given.graph.output_tensors if t.dtype.startswith("float")]
    tallies = {name: Agreement() for name in names if name in coded.graph.outputs}
    hits = None if labels is None else _Hits(labels)
    for k, sample in enumerate(samples):
        ours, theirs = coded.run(sample), given.run(sample)
        for name, tally in tallies.items():
            tally.add(ours[name], theirs[name])
        if hits is not None:
            _count(hits, k, ours, theirs, list(tallies))
    right = None if hits is None else float(f"{hits.coded / hits.places:.6g}")
    before = None if hits is None else float(f"{hits.given / hits.places:.6g}")
    return CodecCost(
        samples=len(samples), on="golden" if golden else "calibration",
        results=tuple(_cost(name, tally) for name, tally in tallies.items()),
        accuracy=right, given_accuracy=before,
    )  # fmt: skip


def _count(hits: _Hits, k: int, ours: Arrays, theirs: Arrays, names: Sequence[str]) -> None:
    wanted = np.squeeze(hits.labels[k])
    for name in [hits.result] if hits.result else names:
        found, before = classes_of(ours[name]), classes_of(theirs[name])
        if found is None or before is None or np.squeeze(found).shape != wanted.shape:
            continue
        hits.result = name
        hits.coded += int(np.count_nonzero(np.squeeze(found) == wanted))
        hits.given += int(np.count_nonzero(np.squeeze(before) == wanted))
        hits.places += wanted.size
        return
    raise UsageError(
        "the labels fit no result of the network",
        why=f"a sample has labels of shape {wanted.shape}",
        hint="one whole number for each sample, the place of the largest element",
    )


def _cost(name: str, found: Agreement) -> Cost:
    error = float(f"{found.relative_error:.4g}")
    return Cost(
        result=name, relative_error=error, argmax_same=found.same, argmax_of=found.places
    )  # fmt: skip


def in_words(cost: CodecCost) -> list[str]:
    """What a codec costs, in lines that fit 80 columns."""
    plural = "" if cost.samples == 1 else "s"
    head = f"with the codec against the given network, {cost.samples} {cost.on} sample{plural}:"
    return [head, *figures_in_words(cost, "without it")]


def figures_in_words(cost: CodecCost, otherwise: str) -> list[str]:
    """What a changed network costs, a line a result, and a line for the accuracy where known.

    Args:
        cost: Against the given network.
        otherwise: What to call that, behind the accuracy of the changed one.
    """
    lines: list[str] = []
    for one in cost.results:
        same = f", same arg-max in {one.argmax_same} of {one.argmax_of}" if one.argmax_of else ""
        name = one.result if len(one.result) <= 30 else "…" + one.result[-29:]
        lines.append(f"  {name}: relative error {one.relative_error:.2g}{same}")
    if cost.accuracy is not None and cost.given_accuracy is not None:
        lines.append(f"  accuracy {cost.accuracy:.1%}, {otherwise} {cost.given_accuracy:.1%}")
    return lines


def quantized_in_words(made: QuantizedEntry) -> list[str]:
    """What quantising did and costs, in lines that fit 80 columns."""
    left = f", {made.in_floats} stayed in floats" if made.in_floats else ""
    samples = made.cost.samples
    others = _counted(samples, "other")
    which = others if made.held_out else f"{samples} the same, too few to keep some back"
    return [
        f"{_counted(made.on_bytes, 'layer')} on bytes{left}; ranges from "
        f"{_counted(made.calibrated, 'sample')}",
        f"against the given network, on {which}:",
        *figures_in_words(made.cost, "in floats"),
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
