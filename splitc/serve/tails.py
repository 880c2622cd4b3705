# SPDX-License-Identifier: Apache-2.0
"""Bundles as a server has them: what runs behind the link, and what runs it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError, UsageError
from splitc.runtime.devices import why_not_run
from splitc.runtime.manifest import (
    Missing,
    Route,
    TensorSpec,
)
from splitc.runtime.part import Contract
from splitc.serve.runner import (
    LoadedParts,
    OpenRunner,
    Runner,
    behind,
    results_of,
    sizes,
)
from splitc.wire.header import split_id

_QUICK_S = 0.001


class Tail:
    """What is behind the link on one route of a bundle; runs from any thread.

    Args:
        name: Bundle and route, for people.
        route: Number of the route.
        crosses: What it takes from the link.
        missing: What stands for elements that did not come, of each.
        results: What its parts make of the network's results, in the order that they are made.
        answers: What of these goes back: all, or none where they are wanted here.
        steps: What its parts read and make, in order, by how many frames they take at once; 1
            is among them.
        runner: Runs it.

    Raises:
        BadBundleError: A part for several frames takes or makes something else than the one for
            one.
    """

    def __init__(
        self,
        name: str,
        route: int,
        crosses: tuple[TensorSpec, ...],
        missing: tuple[Missing, ...],
        results: tuple[TensorSpec, ...],
        answers: tuple[TensorSpec, ...],
        steps: Mapping[int, Sequence[Contract]],
        runner: Runner,
    ) -> None:
        self.name = name
        self.route = route
        self.crosses = crosses
        self.missing = missing
        self.results = results
        self.answers = answers
        self.batches = tuple(sorted(steps))
        self.steps = steps
        self.seconds = 0.0
        _check_batches(steps)
        self.runner = runner

    @property
    def is_quick(self) -> bool:
        """Whether handing it to another thread costs more than the one that reads can spare."""
        return self.runner.is_here and self.seconds <= _QUICK_S

    def run(self, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Run it on frames, as many as it takes at once.

        Args:
            frames: Of each, the tensors that cross, in the contract's order.

        Returns:
            Of each, the results in order.

        Raises:
            SplitcError: It does not run.
        """
        return self.runner.run(self.route, frames)

    def measure(self, repeat: int = 3) -> None:
        """Run it on zeros, in every size, and note how long one frame takes: `seconds`.

        Raises:
            SplitcError: It does not run.
        """
        frame = [np.zeros(_extents(spec), spec.dtype) for spec in self.crosses]
        for count in reversed(self.batches):
            times: list[float] = []
            for _ in range(repeat):
                start = time.perf_counter()
                self.run([frame] * count)
                times.append(time.perf_counter() - start)
            self.seconds = min(times)


class Hosted(Protocol):
    """What a server has of a split: its tails."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def tails(self) -> Mapping[int, Tail]:
        """What is behind the link, by route."""
        ...


class Served:
    """A bundle whose tails can run.

    Args:
        path: Its folder.
        open_runner: Makes what runs them; by default its parts are loaded into this process.

    Raises:
        UsageError: There is no such folder.
        BadBundleError: Nothing of it is behind the link, or a file is not the one the manifest
            lists.
        ToolchainError: A part cannot run on this machine.

    `stand_ins` are the parts whose builds for this machine's processor run in their place, by
    name, with why there is no graphics processor for them.
    """

    def __init__(self, path: str | Path, open_runner: OpenRunner = LoadedParts) -> None:
        bundle = Bundle.open(path)
        manifest = bundle.manifest
        self.name = manifest.name
        self.path = bundle.path
        self.digest = manifest.split
        self.split = split_id(manifest.split)
        self.results_stay = manifest.results == "server"
        names = behind(manifest)
        self._runner = open_runner(bundle)
        with ExitStack() as stack:
            stack.callback(self._runner.close)
            parts = {name: bundle.part(name) for name in names}
            contracts = {name: Contract.of(part) for name, part in parts.items()}
            self.tails: Mapping[int, Tail] = {
                number: _tail(bundle, number, contracts, self._runner)
                for number, route in enumerate(manifest.routes)
                if route.behind
            }
            self.stand_ins: Mapping[str, str] = {
                name: why for name, part in parts.items()
                if part.device is not None and (why := why_not_run(part))
            }  # fmt: skip
            self.routes = tuple(manifest.routes[number].name for number in self.tails)
            stack.pop_all()

    @property
    def title(self) -> str:
        """Its name, and those of its routes where it has several."""
        if len(self.routes) == 1:
            return self.name
        return f"{self.name} (routes {', '.join(self.routes)})"

    def close(self) -> None:
        """Let go of what runs them. A second time does nothing."""
        self._runner.close()

    def __enter__(self) -> Self:
        """The bundle itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def load_bundles(
    paths: Sequence[str | Path], stack: ExitStack, open_runner: OpenRunner = LoadedParts
) -> dict[int, Served]:
    """Bundles by the number that packets name them by; the stack closes them.

    Raises:
        UsageError: There is none, or two have the same split.
        SplitcError: As `Served`.
    """
    if not paths:
        raise UsageError("there is no bundle to serve")
    found: dict[int, Served] = {}
    for path in paths:
        one = stack.enter_context(Served(path, open_runner))
        if one.split in found:
            why = "packets name a bundle by its split, and both have the same"
            raise UsageError(f"'{found[one.split].path}' and '{path}' are one bundle", why=why)
        found[one.split] = one
    return found


def _tail(bundle: Bundle, number: int, contracts: Mapping[str, Contract], runner: Runner) -> Tail:
    manifest = bundle.manifest
    route = manifest.routes[number]
    steps = {n: [contracts[name] for name in names] for n, names in sizes(manifest, route).items()}
    _check_reads(route, steps[1])
    title = manifest.name if len(manifest.routes) == 1 else f"{manifest.name}/{route.name}"
    results = results_of(bundle, route)
    answers = results if manifest.results == "device" else ()
    return Tail(title, number, route.crosses, route.missing, results, answers, steps, runner)


def _check_reads(route: Route, steps: Sequence[Contract]) -> None:
    """What each part behind the link reads is there by then."""
    at_hand = {spec.name for spec in route.crosses}
    for one in steps:
        absent = [spec.name for spec in one.inputs if spec.name not in at_hand]
        if absent:
            why = f"it neither crosses the link nor is made behind it on route '{route.name}'"
            raise BadBundleError(f"the {one.part} reads '{absent[0]}'", why=why)
        at_hand |= {spec.name for spec in one.outputs}


def _check_batches(steps: Mapping[int, Sequence[Contract]]) -> None:
    """A part for several frames takes and makes the same as the one for one, lengthwise."""
    for count, several in steps.items():
        for single, batched in zip(steps[1], several, strict=True):
            pairs = [
                *zip(single.inputs, batched.inputs, strict=False),
                *zip(single.outputs, batched.outputs, strict=False),
            ]
            if _names(single) != _names(batched):
                why = "it has other inputs or results than the one for one frame"
                raise BadBundleError(f"a {single.part} is not for {count} frames", why=why)
            for spec, other in pairs:
                if count > 1 and not _is_times(spec, other, count):
                    why = f"'{spec.name}' is {other.shape} there and {spec.shape} of one frame"
                    raise BadBundleError(f"a {single.part} is not for {count} frames", why=why)


def _names(contract: Contract) -> tuple[list[str], list[str]]:
    return [one.name for one in contract.inputs], [one.name for one in contract.outputs]


def _is_times(spec: TensorSpec, other: TensorSpec, count: int) -> bool:
    """Whether a tensor is so many of another, one behind the other along the first axis."""
    if not spec.shape or spec.dtype != other.dtype or spec.shape[0] is None:
        return False
    return other.shape == (spec.shape[0] * count, *spec.shape[1:])


def _extents(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(extent or 1 for extent in spec.shape)
