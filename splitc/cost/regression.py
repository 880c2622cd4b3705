# SPDX-License-Identifier: Apache-2.0
"""Times of layers that nobody measured, from those of other networks on the same machine.

For each kind of layer, its milliseconds are a constant plus so much for each GFLOP, for each
megabyte of tensors and for each megabyte of weights; none of them is negative. They are those of
the least squares, each layer weighted by one over its time and the least time that counts, so
that neither the few long layers nor the many short ones decide alone.

References:
    Kang et al., "Neurosurgeon", ASPLOS 2017, section 4.1: a regression for each kind of layer.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitc.cost.board import Board
from splitc.cost.profile import FREE, Profile, Work, read_bounded, work_of
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph
from splitc.scratch import write_whole

SCHEMA = 1
_Floats = NDArray[np.float64]
Coefficient = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What layers of a kind take, in milliseconds; `layers` is how many it was fitted to."""

    constant_ms: Coefficient = 0.0
    ms_per_gflop: Coefficient = 0.0
    ms_per_tensor_mb: Coefficient = 0.0
    ms_per_weight_mb: Coefficient = 0.0
    layers: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0

    def ms(self, work: Work) -> float:
        """What a layer takes."""
        own = (self.constant_ms, self.ms_per_gflop, self.ms_per_tensor_mb, self.ms_per_weight_mb)
        return sum(a * b for a, b in zip(own, _features(work), strict=True))


class CrossValidation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a fit to all networks but one is off on that one, as shares of what was measured.

    `layers` is the mean over all layers, each weighted by its time; `kinds` the same by kind;
    `networks` of each network's sum, and `total` the mean of those.
    """

    layers: Share
    total: Share
    kinds: dict[str, Share]
    networks: dict[str, Share]


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Times by kind of layer on a machine; `any` is for kinds that no profile had.

    `shares` is what each kind takes of the time of all profiles, `validation` how far off it is;
    None where there is one network only.
    """

    schema: int
    kind: Literal["splitc-fit"]
    machine: str
    figures: Literal["measured", "predicted"] = "measured"
    networks: tuple[str, ...]
    kinds: dict[str, Terms]
    any: Terms
    shares: dict[str, Share]
    validation: CrossValidation | None = None

    def ms(self, work: Work) -> float:
        """Milliseconds of a layer."""
        return self.kinds.get(work.kind, self.any).ms(work)


@dataclass(frozen=True)
class _Sample:
    """A layer that was measured."""

    network: str
    work: Work
    ms: float


def fit(profiles: Sequence[Profile], machine: str = "") -> Fit:
    """Fit the times of profiles of one machine, and validate them network by network.

    Args:
        profiles: Measured, with the layers' work.
        machine: What it is, in words; needed where the profiles say different things.

    Raises:
        UsageError: There is none, one has no work, or they are of several machines.
    """
    if not profiles:
        raise UsageError("there is no profile to fit")
    machines = list(dict.fromkeys(profile.machine for profile in profiles))
    if len(machines) > 1 and not machine:
        why = f"'{machines[0]}' and '{machines[1]}'"
        hint = "--machine TEXT where they are one machine all the same"
        raise UsageError("the profiles are of several machines", why=why, hint=hint)
    samples = _samples(profiles)
    networks = tuple(dict.fromkeys(sample.network for sample in samples))
    kinds, anything = _terms(samples)
    whole = sum(sample.ms for sample in samples)
    shares = {
        kind: sum(sample.ms for sample in samples if sample.work.kind == kind) / whole
        for kind in kinds
    }
    measured = all(profile.figures == "measured" for profile in profiles)
    return Fit(
        schema=SCHEMA, kind="splitc-fit", machine=machine or machines[0],
        figures="measured" if measured else "predicted", networks=networks, kinds=kinds,
        any=anything, shares=dict(sorted(shares.items(), key=lambda each: -each[1])),
        validation=_validate(samples, networks) if len(networks) > 1 else None,
    )  # fmt: skip


def _samples(profiles: Sequence[Profile]) -> list[_Sample]:
    found: list[_Sample] = []
    for number, profile in enumerate(profiles, 1):
        name = profile.network or f"network {number}"
        lacking = next((each for each in profile.layers if each not in profile.work), None)
        if lacking is not None:
            raise UsageError(
                f"the profile of {name} does not say what its layers do",
                why=f"'{lacking}' has a time and no work",
                hint="give it with its network, as MODEL=PROFILE",
            )
        own = [
            _Sample(name, profile.work[layer], ms)
            for layer, ms in profile.layers.items()
            if profile.work[layer].kind not in FREE
        ]
        if not any(sample.ms for sample in own):
            raise UsageError(f"in the profile of {name} no layer takes any time")
        found += own
    return found


def _terms(samples: Sequence[_Sample]) -> tuple[dict[str, Terms], Terms]:
    """The terms of each kind of layer, and of all layers."""
    by_kind: defaultdict[str, list[_Sample]] = defaultdict(list)
    for sample in samples:
        by_kind[sample.work.kind].append(sample)
    least_ms = _LEAST_SHARE * sum(sample.ms for sample in samples) / len(samples)
    return {kind: _least_squares(some, least_ms) for kind, some in by_kind.items()}, (
        _least_squares(samples, least_ms)
    )


_LEAST_SHARE = 0.2
"""Of a mean layer's time: an error under it counts alike whether the layer took less."""


def _least_squares(samples: Sequence[_Sample], least_ms: float) -> Terms:
    """The terms with the least sum of squared errors, of those without a negative one.

    At the optimum the terms above zero are those of the plain least squares over them alone, so
    that of all choices of terms the best is it.
    """
    rows = np.array([_features(sample.work) for sample in samples])
    times = np.array([sample.ms for sample in samples])
    weights = 1.0 / (times + least_ms)
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    left, right = rows / scale * weights[:, None], times * weights
    best, least = np.zeros(rows.shape[1]), float(right @ right)
    for used in _subsets(np.flatnonzero(rows.max(axis=0) >= _LEAST_WORK).tolist()):
        columns = left[:, used]
        solved = cast("_Floats", np.linalg.lstsq(columns, right, rcond=None)[0])
        error = right - columns @ solved
        if (solved >= 0).all() and float(error @ error) < least * (1 - 1e-12):
            best, least = np.zeros(rows.shape[1]), float(error @ error)
            best[used] = solved
    constant, flops, tensors, weight = (float(v) for v in best / scale)
    return Terms(
        constant_ms=constant, ms_per_gflop=flops, ms_per_tensor_mb=tensors,
        ms_per_weight_mb=weight, layers=len(samples),
    )  # fmt: skip


_LEAST_WORK = (1.0, 1e-4, 0.01, 0.01)
"""Of what some layer of a kind has to have for it to be a term: a few kilobytes of weights tell
nothing of megabytes."""


def _subsets(columns: Sequence[int]) -> Iterable[list[int]]:
    """Every choice of columns, the fewest first, so that none is used that brings nothing."""
    for size in range(1, len(columns) + 1):
        yield from (list(some) for some in itertools.combinations(columns, size))


def _features(work: Work) -> tuple[float, float, float, float]:
    moved = work.read_bytes + work.write_bytes
    return 1.0, work.flops / 1e9, moved / 1e6, work.weight_bytes / 1e6


def _validate(samples: Sequence[_Sample], networks: Sequence[str]) -> CrossValidation:
    """Each network predicted by a fit to the others."""
    off: defaultdict[str, float] = defaultdict(float)
    took: defaultdict[str, float] = defaultdict(float)
    totals: dict[str, float] = {}
    for network in networks:
        own = [sample for sample in samples if sample.network == network]
        kinds, anything = _terms([sample for sample in samples if sample.network != network])
        guesses = [kinds.get(one.work.kind, anything).ms(one.work) for one in own]
        for sample, guess in zip(own, guesses, strict=True):
            off[sample.work.kind] += abs(guess - sample.ms)
            took[sample.work.kind] += sample.ms
        whole = sum(sample.ms for sample in own)
        totals[network] = abs(sum(guesses) - whole) / whole
    return CrossValidation(
        layers=sum(off.values()) / sum(took.values()),
        total=sum(totals.values()) / len(totals),
        kinds={kind: off[kind] / took[kind] for kind in off if took[kind]},
        networks=totals,
    )


def read_fit(path: str | Path) -> Fit:
    """A fit out of its file.

    Raises:
        UsageError: There is no such file, it is too large, or no fit; says where.
    """
    try:
        made = msgspec.json.decode(read_bounded(path), type=Fit)
    except msgspec.MsgspecError as error:
        hint = "`splitc fit` writes them"
        raise UsageError(f"'{path}' is no fit", why=str(error), hint=hint) from error
    if made.schema != SCHEMA:
        raise UsageError(f"'{path}' has schema {made.schema}", why=f"{SCHEMA} can be read")
    return made


def write_fit(path: str | Path, made: Fit) -> None:
    """Write a fit.

    Raises:
        OutputError: It cannot be written.
    """
    write_whole(path, msgspec.json.format(msgspec.json.encode(made)) + b"\n")


@dataclass(frozen=True)
class FitCost:
    """Times of layers by their kinds, from a fit.

    Args:
        board: The machine that code is made for; power and memory are its.
        fit: What was fitted.
    """

    board: Board
    fit: Fit = field(repr=False)

    @property
    def label(self) -> str:
        """Where the figures come from, and how far they are off."""
        count, found = len(self.fit.networks), self.fit.validation
        of = f"{count} networks" if count > 1 else "one network"
        known = f"predicted from times of {of} on {self.fit.machine}"
        return known if found is None else f"{known} (off by {found.total:.0%} on one left out)"

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order."""
        work: Mapping[str, Work] = work_of(graph)
        return tuple(
            self.fit.ms(work[layer.name]) / 1e3 if layer.name in work else 0.0
            for layer in graph.layers
        )
