# SPDX-License-Identifier: Apache-2.0
"""What `splitc evaluate` prints with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import GatedObject

if TYPE_CHECKING:
    from splitc.evaluate.accuracy import Evaluation


class NetworkObject(msgspec.Struct, frozen=True, kw_only=True):
    """A split network: its codec and the channels that it was trained over, "" for none."""

    name: str
    cut: str
    codec: str
    trained_over: str
    boundary_bytes: int


class PointObject(msgspec.Struct, frozen=True, kw_only=True):
    """A network at a loss rate; `accuracy_drop` counts from the first network without loss.
    `name` is what a gate calls it: NETWORK@RATE."""

    name: str
    network: str
    loss_rate: float
    accuracy: float
    accuracy_drop: float
    right: int
    samples: int


class EvaluateObject(GatedObject, frozen=True, kw_only=True):
    """`splitc evaluate`: the networks, and each of them at each loss rate."""

    data: str
    payload_bytes: int
    seed: int
    loss_rates: tuple[float, ...]
    networks: tuple[NetworkObject, ...]
    points: tuple[PointObject, ...]

    @staticmethod
    def of(found: Evaluation, data: str, payload_bytes: int, seed: int) -> EvaluateObject:
        """What was found."""
        return EvaluateObject(
            data=data, payload_bytes=payload_bytes, seed=seed, loss_rates=found.loss_rates,
            networks=tuple(
                NetworkObject(name=one.name, cut=one.cut, codec=one.codec,
                              trained_over=one.trained_over, boundary_bytes=one.boundary_bytes)
                for one in found.subjects
            ),
            points=tuple(
                PointObject(name=one.name, network=one.subject, loss_rate=one.loss_rate,
                            accuracy=one.accuracy, accuracy_drop=one.accuracy_drop,
                            right=one.right, samples=one.samples)
                for one in found.points
            ),
        )  # fmt: skip
