# SPDX-License-Identifier: Apache-2.0
"""How long the parts of a bundle take on this machine, and what they hold in memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.bundle.bundle import Bundle
from splitc.bundle.runnable import Runnable, runnable_parts
from splitc.bundle.vectors import read_vectors
from splitc.errors import UsageError
from splitc.runtime.integrity import unchanged
from splitc.runtime.library import threads_in_use
from splitc.runtime.manifest import Manifest, Route
from splitc.runtime.part import Part

_FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Times:
    """Times of calls, in milliseconds.

    Args:
        calls: How many there were, the first one left out.
        median_ms: Half of them took less.
        p95_ms: 95 in 100 took less.
        p99_ms: 99 in 100 took less.
    """

    calls: int
    median_ms: float
    p95_ms: float
    p99_ms: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Times:
        """The times of some calls, at least one."""
        found = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
        median, p95, p99 = (float(one) for one in found)
        return Times(len(seconds), median, p95, p99)


@dataclass(frozen=True)
class MeasuredPart:
    """What was found of a part.

    Args:
        ran: What ran, in words.
        frames: How many one call takes.
        load_ms: Loading it, after its files were checked.
        first_ms: Its first call, which touches weights and wakes threads.
        resident_bytes: What loading it and its first call added to the process.
        times: Its other calls.
    """

    ran: str
    frames: int
    load_ms: float
    first_ms: float
    resident_bytes: int
    times: Times


@dataclass(frozen=True)
class Measured:
    """What was found of a bundle.

    Args:
        parts: Its parts by name.
        routes: The parts of each route one after the other, in one process, without the link.
        default: Name of the route that runs where none is asked for.
        threads: Of compiled code; None where there is none.
        resident_bytes: Of this process in the end.
    """

    parts: dict[str, MeasuredPart]
    routes: dict[str, Times]
    default: str
    threads: int | None
    resident_bytes: int


class _Loaded:
    """A part that is loaded, what it is run on, and how long its calls took."""

    def __init__(self, runnable: Runnable, frames: int) -> None:
        before, start = _resident(), time.perf_counter()
        self.part: Part = runnable.open()
        self.load_ms = (time.perf_counter() - start) * 1e3
        self.ran, self.frames = runnable.ran, frames
        self._before = before
        self.first_ms = 0.0
        self.resident_bytes = 0
        self.seconds: list[float] = []
        self.inputs: list[Array] = []

    def feed(self, known: Arrays) -> dict[str, Array]:
        """Make its first call on tensors by name, repeated for each of its frames."""
        contract = self.part.contract
        self.inputs = [
            np.concatenate([known[s.name]] * self.frames) if self.frames > 1 else known[s.name]
            for s in contract.inputs
        ]
        start = time.perf_counter()
        made = self.part.run(self.inputs)
        self.first_ms = (time.perf_counter() - start) * 1e3
        self.resident_bytes = max(0, _resident() - self._before)
        return dict(zip((spec.name for spec in contract.outputs), made, strict=True))

    def call(self) -> float:
        """Run it once more; gives the seconds."""
        start = time.perf_counter()
        self.part.run(self.inputs)
        self.seconds.append(time.perf_counter() - start)
        return self.seconds[-1]

    def measured(self) -> MeasuredPart:
        """What was found."""
        return MeasuredPart(
            self.ran, self.frames, self.load_ms, self.first_ms, self.resident_bytes,
            Times.of(self.seconds),
        )  # fmt: skip


def measure(bundle: Bundle, seconds: float, route: str | None = None) -> Measured:
    """Run parts of a bundle on its first golden sample, in turns, in this process.

    A part for another machine is measured as its build for this one.

    Args:
        bundle: The bundle; its files are checked first.
        seconds: How long, loading left out; there are three rounds at least.
        route: The route whose parts they are; by default all parts.

    Raises:
        UsageError: The time is not above 0, or there is no such route.
        BadBundleError: A file is not the one that the manifest lists.
        ToolchainError: A part cannot run on this machine.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{seconds:g} seconds are no time to measure in")
    manifest = bundle.manifest
    asked = manifest.routes if route is None else (manifest.route_named(route),)
    names = manifest.parts if route is None else asked[0].parts
    found = runnable_parts(bundle.path, manifest, names)
    known = {
        name: array[0]
        for name, array in read_vectors(
            bundle.path / "golden" / "inputs", manifest.source.inputs
        ).items()
    }
    with unchanged(bundle.path, *(one.folder for one in found.values())):
        bundle.check()
        loaded = _fed(found, manifest, asked, known)
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < _FEWEST_ROUNDS or time.perf_counter() < end:
        rounds.append({name: one.call() for name, one in loaded.items()})
    measured = {name: one.measured() for name, one in loaded.items()}
    for one in loaded.values():
        one.part.close()
    times = {
        one.name: Times.of([sum(took[name] for name in one.parts) for took in rounds])
        for one in asked
    }
    default = manifest.default if route is None else route
    return Measured(measured, times, default, threads_in_use(), _resident())


def _fed(
    found: Mapping[str, Runnable], manifest: Manifest, routes: Sequence[Route], feed: Arrays
) -> dict[str, _Loaded]:
    """Every part loaded and called once: route by route, so that each finds what it reads."""
    loaded: dict[str, _Loaded] = {}
    made: dict[str, dict[str, Array]] = {}
    for route in routes:
        known = dict(feed)
        for name in route.parts:
            # Parts for several frames read what the one for a single frame does.
            for each in manifest.batched(name).values() if name not in loaded else ():
                if each in found:
                    loaded[each] = _Loaded(found[each], manifest.parts[each].batch)
                    made[each] = loaded[each].feed(known)
            known |= made[name]
    for name in (name for name in found if name not in loaded):
        loaded[name] = _Loaded(found[name], manifest.parts[name].batch)
        loaded[name].feed(feed)
    return {name: loaded[name] for name in found}


def _resident() -> int:
    """Bytes of this process that are in memory."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * resource.getpagesize()
