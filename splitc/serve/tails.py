# SPDX-License-Identifier: Apache-2.0
"""Bundles as a server has them: what runs behind the link, loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.bundle.runnable import Runnable, runnable_part
from splitc.errors import BadBundleError, UsageError
from splitc.runtime.integrity import unchanged
from splitc.runtime.manifest import Manifest, Missing, Route, TensorSpec
from splitc.runtime.part import Part
from splitc.wire.header import split_id

_QUICK_S = 0.001


@dataclass(frozen=True)
class Step:
    """One part of a tail.

    Args:
        part: It, loaded.
        reads: Names of the tensors that it reads.
        makes: Names of those it makes.
    """

    part: Part
    reads: tuple[str, ...]
    makes: tuple[str, ...]

    @staticmethod
    def of(part: Part) -> Step:
        """A part with the names in its contract."""
        contract = part.contract
        reads = tuple(spec.name for spec in contract.inputs)
        return Step(part, reads, tuple(spec.name for spec in contract.outputs))


class Tail:
    """What is behind the link on one route of a bundle; runs from any thread.

    Args:
        name: Bundle and route, for people.
        crosses: What it takes from the link.
        missing: What stands for elements that did not come, of each.
        results: What it sends back: results of the network, in the order that they are made.
        steps: Its parts, in order, by how many frames they take at once; 1 is among them.

    Raises:
        BadBundleError: A part for several frames takes or makes something else than the one for
            one.
    """

    def __init__(
        self,
        name: str,
        crosses: tuple[TensorSpec, ...],
        missing: tuple[Missing, ...],
        results: tuple[TensorSpec, ...],
        steps: Mapping[int, Sequence[Step]],
    ) -> None:
        self.name = name
        self.crosses = crosses
        self.missing = missing
        self.results = results
        self.batches = tuple(sorted(steps))
        self.seconds = 0.0
        _check_batches(steps)
        self.steps = steps

    @property
    def is_quick(self) -> bool:
        """Whether handing it to another thread costs more than the one that reads can spare."""
        return self.seconds <= _QUICK_S

    def run(self, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Run it on frames, as many as it takes at once.

        Args:
            frames: Of each, the tensors that cross, in the contract's order.

        Returns:
            Of each, the results in order.

        Raises:
            SplitcError: A part does not run.
        """
        names = [spec.name for spec in self.crosses]
        if len(frames) == 1:
            known = dict(zip(names, frames[0], strict=True))
            self._run(known, 1)
            return [[known[spec.name] for spec in self.results]]
        stacked = zip(*frames, strict=True)
        known = {name: np.concatenate(each) for name, each in zip(names, stacked, strict=True)}
        self._run(known, len(frames))
        parted = [np.split(known[spec.name], len(frames)) for spec in self.results]
        return [list(one) for one in zip(*parted, strict=True)]

    def _run(self, known: dict[str, Array], count: int) -> None:
        for step in self.steps[count]:
            made = step.part.run([known[name] for name in step.reads])
            known.update(zip(step.makes, made, strict=True))

    def measure(self, repeat: int = 3) -> None:
        """Run it on zeros, in every size, and note how long one frame takes: `seconds`.

        Raises:
            SplitcError: A part does not run.
        """
        frame = [np.zeros(_extents(spec), spec.dtype) for spec in self.crosses]
        for count in reversed(self.batches):
            times: list[float] = []
            for _ in range(repeat):
                start = time.perf_counter()
                self.run([frame] * count)
                times.append(time.perf_counter() - start)
            self.seconds = min(times)


class Served:
    """A bundle whose tails are loaded.

    Args:
        path: Its folder.

    Raises:
        UsageError: There is no such folder.
        BadBundleError: A file is not the one the manifest lists, or nothing of it is behind
            the link.
        ToolchainError: A part cannot run on this machine.
    """

    def __init__(self, path: str | Path) -> None:
        bundle = Bundle.open(path)
        manifest = bundle.manifest
        self.name = manifest.name
        self.path = bundle.path
        self.digest = manifest.split
        self.split = split_id(manifest.split)
        self._open = ExitStack()
        with self._open:
            found = {
                name: runnable_part(bundle.path, name, bundle.path / manifest.parts[name].folder)
                for name in behind(manifest)
            }
            with unchanged(bundle.path, *(one.folder for one in found.values())):
                bundle.check()
                parts = {name: self._load(one) for name, one in found.items()}
            self.tails = {
                number: _tail(manifest, route, parts)
                for number, route in enumerate(manifest.routes)
                if _behind(route)
            }
            self._open = self._open.pop_all()

    def _load(self, one: Runnable) -> Part:
        return self._open.enter_context(one.open())

    def close(self) -> None:
        """Let go of the parts. A second time does nothing."""
        self._open.close()

    def __enter__(self) -> Self:
        """The bundle itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def load_bundles(paths: Sequence[str | Path], stack: ExitStack) -> dict[int, Served]:
    """Bundles by the number that packets name them by; the stack closes them.

    Raises:
        UsageError: There is none, or two have the same split.
        SplitcError: As `Served`.
    """
    if not paths:
        raise UsageError("there is no bundle to serve")
    found: dict[int, Served] = {}
    for path in paths:
        one = stack.enter_context(Served(path))
        if one.split in found:
            why = "packets name a bundle by its split, and both have the same"
            raise UsageError(f"'{found[one.split].path}' and '{path}' are one bundle", why=why)
        found[one.split] = one
    return found


def behind(manifest: Manifest) -> tuple[str, ...]:
    """Names of the parts that run behind the link on some route, every size of each.

    Raises:
        BadBundleError: There is none.
    """
    names: dict[str, None] = {}
    for route in manifest.routes:
        for name in _behind(route):
            names |= dict.fromkeys(manifest.batched(name).values())
    if not names:
        raise BadBundleError(f"'{manifest.name}' has no tail to serve")
    return tuple(names)


def _behind(route: Route) -> tuple[str, ...]:
    _, *others = route.runs.values()
    return tuple(name for each in others for name in each)


def _tail(manifest: Manifest, route: Route, parts: Mapping[str, Part]) -> Tail:
    names = _behind(route)
    sizes = [n for n in manifest.batched(names[0]) if all(n in manifest.batched(k) for k in names)]
    steps = {
        count: [Step.of(parts[manifest.batched(name)[count]]) for name in names] for count in sizes
    }
    at_hand = {spec.name for spec in route.crosses}
    made: list[TensorSpec] = []
    for name in names:
        contract = parts[name].contract
        absent = [spec.name for spec in contract.inputs if spec.name not in at_hand]
        if absent:
            why = f"it neither crosses the link nor is made behind it on route '{route.name}'"
            raise BadBundleError(f"the {name} reads '{absent[0]}'", why=why)
        made += contract.outputs
        at_hand |= {spec.name for spec in contract.outputs}
    wanted = {spec.name for spec in manifest.source.outputs}
    results = tuple(spec for spec in made if spec.name in wanted)
    title = manifest.name if len(manifest.routes) == 1 else f"{manifest.name}/{route.name}"
    return Tail(title, route.crosses, route.missing, results, steps)


def _check_batches(steps: Mapping[int, Sequence[Step]]) -> None:
    """A part for several frames takes and makes the same as the one for one, lengthwise."""
    for count, several in steps.items():
        for one, many in zip(steps[1], several, strict=True):
            single, batched = one.part.contract, many.part.contract
            pairs = [
                *zip(single.inputs, batched.inputs, strict=False),
                *zip(single.outputs, batched.outputs, strict=False),
            ]
            if (one.reads, one.makes) != (many.reads, many.makes):
                why = "it has other inputs or results than the one for one frame"
                raise BadBundleError(f"a {single.part} is not for {count} frames", why=why)
            for spec, other in pairs:
                if count > 1 and not _is_times(spec, other, count):
                    why = f"'{spec.name}' is {other.shape} there and {spec.shape} of one frame"
                    raise BadBundleError(f"a {single.part} is not for {count} frames", why=why)


def _is_times(spec: TensorSpec, other: TensorSpec, count: int) -> bool:
    """Whether a tensor is so many of another, one behind the other along the first axis."""
    if not spec.shape or spec.dtype != other.dtype or spec.shape[0] is None:
        return False
    return other.shape == (spec.shape[0] * count, *spec.shape[1:])


def _extents(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(extent or 1 for extent in spec.shape)
