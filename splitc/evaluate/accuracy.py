# SPDX-License-Identifier: Apache-2.0
"""Accuracy by the share of packets that the link loses, nothing sent again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Arrays
from splitc.errors import UsageError
from splitc.evaluate.samples import Samples
from splitc.evaluate.subject import Subject
from splitc.link.packets import PAYLOAD_BYTES
from splitc.runtime.manifest import TensorSpec
from splitc.wire.boundary import Boundary
from splitc.wire.header import HEADER_BYTES

LOSS_RATES = (0.0, 0.1, 0.2, 0.3, 0.5)
"""Where nobody says which."""


@dataclass(frozen=True)
class Point:
    """A split network at a loss rate.

    Args:
        subject: Its name.
        loss_rate: Share of packets lost.
        accuracy: Share of samples that are right; one of which nothing arrived is wrong.
        accuracy_drop: How much lower that is than the first network's without loss.
        right: How many are.
        samples: Of how many.
    """

    subject: str
    loss_rate: float
    accuracy: float
    accuracy_drop: float
    right: int
    samples: int

    @property
    def name(self) -> str:
        """What it is called among all."""
        return f"{self.subject}@{self.loss_rate:g}"


@dataclass(frozen=True)
class Evaluation:
    """Split networks side by side.

    Args:
        subjects: They, the one that others are compared with first.
        loss_rates: The shares of packets lost.
        points: Each network at each rate, network by network.
    """

    subjects: tuple[Subject, ...]
    loss_rates: tuple[float, ...]
    points: tuple[Point, ...]

    def of(self, subject: Subject) -> tuple[Point, ...]:
        """Those of a network, by loss rate."""
        return tuple(one for one in self.points if one.subject == subject.name)


def evaluate(
    subjects: Sequence[Subject],
    samples: Callable[[tuple[TensorSpec, ...]], Samples],
    loss_rates: Sequence[float] = LOSS_RATES,
    *,
    payload_bytes: int = PAYLOAD_BYTES,
    seed: int = 0,
    told: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Run each network on samples, with the packets of what crosses lost at each rate.

    Packets are lost independently; what did not arrive is read as `splitc serve` reads it. All
    networks and rates are given the same draws, so that a packet that is lost at a rate is lost
    at every higher one too: differences between rates and networks are not those of chance.

    Args:
        subjects: The networks, those that others are compared with first.
        samples: Frames and labels for a network's inputs.
        loss_rates: Shares of packets lost, in [0, 1).
        payload_bytes: Bytes of values that a packet holds.
        seed: Of the losses.
        told: Called with what is being done.

    Raises:
        UsageError: There is nothing to evaluate, two networks have one name, or a rate is none.
        SplitcError: A network cannot run on the samples.
    """
    rates = sorted({*map(float, loss_rates)})
    names = [one.name for one in subjects]
    if not subjects or len({*names}) < len(names):
        raise UsageError("there is nothing to evaluate, or one thing twice")
    if not rates or not all(0 <= rate < 1 for rate in rates):
        raise UsageError("loss rates are from 0 to 1, and less than 1", hint="like 0,0.1,0.2")
    counted: list[tuple[Subject, dict[float, int], int]] = []
    without = 0.0
    for subject in subjects:
        told(f"evaluating {subject.name}")
        given = samples(subject.inputs)
        wanted = rates if counted or 0.0 in rates else [0.0, *rates]
        right = _count(subject, given, wanted, payload_bytes, seed)
        if not counted:
            without = right[0.0] / len(given.labels)
        counted.append((subject, right, len(given.labels)))
    points = tuple(
        Point(
            one.name, rate, right[rate] / count, without - right[rate] / count, right[rate], count
        )
        for one, right, count in counted
        for rate in rates
    )
    return Evaluation(tuple(subjects), tuple(rates), tuple(points))


def _count(
    subject: Subject, samples: Samples, rates: Sequence[float], payload_bytes: int, seed: int
) -> dict[float, int]:
    """How many samples are right, by loss rate."""
    boundary = Boundary(subject.crosses, payload_bytes, 0, subject.missing)
    right = dict.fromkeys(rates, 0)
    for number, (frame, label) in enumerate(zip(samples.frames, samples.labels, strict=True)):
        known = subject.head(frame)
        crossing = [known[spec.name] for spec in subject.crosses]
        rows = boundary.pack(crossing, session=0, split=0, frame=0).block[:, HEADER_BYTES:]
        drawn = np.random.default_rng([seed, number]).random(boundary.chunks)
        found: dict[bytes, bool] = {}
        for rate in rates:
            came = drawn >= rate
            key = came.tobytes()
            if key not in found:
                found[key] = bool(came.any()) and label == _class_of(
                    subject, known, boundary, rows, came, rate
                )
            right[rate] += found[key]
    return right


def _class_of(
    subject: Subject, known: Arrays, boundary: Boundary, rows: NDArray[np.uint8],
    came: NDArray[np.bool_], rate: float,
) -> int:  # fmt: skip
    """Where the result is largest that the tail makes of the packets that came."""
    payload = rows[:, : boundary.payload_bytes].copy()
    arrived, _ = boundary.unpack(payload, came, rate)
    return int(np.argmax(subject.result(known, arrived)))
