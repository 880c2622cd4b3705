# SPDX-License-Identifier: Apache-2.0
"""What runs the tails of a bundle: this process, unless a server is given something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.bundle.runnable import runnable_part
from splitc.errors import BadBundleError, UsageError
from splitc.runtime.integrity import unchanged
from splitc.runtime.manifest import Manifest, Route, TensorSpec
from splitc.runtime.memory import Arenas
from splitc.runtime.part import Part, run_by_name


class Runner(Protocol):
    """Runs the tails of one bundle. `run` is called from several threads at once."""

    @property
    def is_here(self) -> bool:
        """Whether it computes in this process; a call of it waits for no other, then."""
        ...

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Run what is behind the link.

        Args:
            route: Number of the route, as in the bundle's manifest.
            frames: Of each, the tensors that cross, in the contract's order; as many as the
                tail takes at once.

        Returns:
            Of each, the network's results in the order that they are made.

        Raises:
            SplitcError: Why these frames have no results; their devices are told.
        """
        ...

    def close(self) -> None:
        """Free what it holds. A second time does nothing."""
        ...


OpenRunner = Callable[[Bundle], Runner]
"""Makes what runs the tails of a bundle."""


@dataclass(frozen=True)
class Steps:
    """The loaded parts of one tail.

    Args:
        crosses: Names of the tensors that it takes.
        results: Names of those that it gives.
        parts: Its parts, in order, by how many frames they take at once.
    """

    crosses: tuple[str, ...]
    results: tuple[str, ...]
    parts: Mapping[int, Sequence[Part]]

    def run(self, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Run it on frames, as many as it takes at once."""
        count = len(frames)
        if count not in self.parts:
            why = f"it takes {', '.join(map(str, self.parts))}"
            raise UsageError(f"a tail does not take {count} frames at once", why=why)
        if count == 1:
            known = self._run(dict(zip(self.crosses, frames[0], strict=True)), 1)
            return [[known[name] for name in self.results]]
        stacked = zip(*frames, strict=True)
        given = {k: np.concatenate(each) for k, each in zip(self.crosses, stacked, strict=True)}
        known = self._run(given, count)
        parted = [np.split(known[name], count) for name in self.results]
        return [list(one) for one in zip(*parted, strict=True)]

    def _run(self, known: dict[str, Array], count: int) -> dict[str, Array]:
        for part in self.parts[count]:
            known |= run_by_name(part, known)
            part.rest()
        return known


class LoadedParts:
    """Runs the tails of a bundle in this process.

    A part that is on several routes is loaded once, and all share the memory that they work in.

    Args:
        bundle: It.

    Raises:
        BadBundleError: A file is not the one the manifest lists.
        ToolchainError: A part cannot run on this machine.
    """

    is_here = True

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        found = {
            name: runnable_part(bundle.path, name, bundle.path / manifest.parts[name].folder)
            for name in behind(manifest)
        }
        arenas = Arenas()
        with ExitStack() as stack:
            with unchanged(bundle.path, *(one.folder for one in found.values())):
                bundle.check()
                parts = {n: stack.enter_context(one.open(arenas)) for n, one in found.items()}
            self._steps = {
                number: _steps(bundle, route, parts)
                for number, route in enumerate(manifest.routes)
                if route.behind
            }
            self._stack = stack.pop_all()

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """See `Runner`."""
        return self._steps[route].run(frames)

    def close(self) -> None:
        """See `Runner`."""
        self._stack.close()


def behind(manifest: Manifest) -> tuple[str, ...]:
    """Names of the parts that run behind the link on some route, every size of each.

    Raises:
        BadBundleError: There is none: nothing is left for a server.
    """
    names: dict[str, None] = {}
    for route in manifest.routes:
        for name in route.behind:
            names |= dict.fromkeys(manifest.batched(name).values())
    if not names:
        why = f"all of it runs on the {next(iter(manifest.route.runs))}"
        hint = "run it there: splitc run BUNDLE; --cut server compiles one that a server runs"
        raise BadBundleError(f"'{manifest.name}' has no tail to serve", why=why, hint=hint)
    return tuple(names)


def sizes(manifest: Manifest, route: Route) -> dict[int, tuple[str, ...]]:
    """The parts behind the link on a route, by how many frames all of them take at once."""
    known = [manifest.batched(name) for name in route.behind]
    return {n: tuple(one[n] for one in known) for n in known[0] if all(n in one for one in known)}


def results_of(bundle: Bundle, route: Route) -> tuple[TensorSpec, ...]:
    """Results of the network that are made behind the link on a route, in that order.

    Raises:
        BadBundleError: The manifest of a part is missing or malformed.
    """
    manifest = bundle.manifest
    makes = {name: bundle.part(name).outputs for name in route.parts}
    return route.results(makes, {spec.name for spec in manifest.source.outputs})


def _steps(bundle: Bundle, route: Route, parts: Mapping[str, Part]) -> Steps:
    names = sizes(bundle.manifest, route)
    results = tuple(spec.name for spec in results_of(bundle, route))
    crosses = tuple(spec.name for spec in route.crosses)
    return Steps(crosses, results, {n: [parts[name] for name in names[n]] for n in names})
