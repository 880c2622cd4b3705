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
from splitc.bundle.runnable import Runnable, runnable_part
from splitc.bundle.vectors import read_vectors
from splitc.errors import UsageError
from splitc.runtime.integrity import unchanged
from splitc.runtime.library import threads_in_use
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
        route: The parts of the default route one after the other, in one process, without
            the link.
        threads: Of compiled code; None where there is none.
        resident_bytes: Of this process in the end.
    """

    parts: dict[str, MeasuredPart]
    route: Times
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


def measure(bundle: Bundle, seconds: float) -> Measured:
    """Run every part of a bundle on its first golden sample, in turns, in this process.

    A part for another machine is measured as its build for this one.

    Args:
        bundle: The bundle; its files are checked first.
        seconds: How long, loading left out; there are three rounds at least.

    Raises:
        UsageError: The time is not above 0.
        BadBundleError: A file is not the one that the manifest lists.
        ToolchainError: A part cannot run on this machine.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{seconds:g} seconds are no time to measure in")
    manifest = bundle.manifest
    found = {
        name: runnable_part(bundle.path, name, bundle.path / entry.folder)
        for name, entry in manifest.parts.items()
    }
    known = {
        name: array[0]
        for name, array in read_vectors(
            bundle.path / "golden" / "inputs", manifest.source.inputs
        ).items()
    }
    with unchanged(bundle.path, *(one.folder for one in found.values())):
        bundle.check()
        loaded = _fed(found, bundle, known)
    route: list[float] = []
    end = time.perf_counter() + seconds
    while len(route) < _FEWEST_ROUNDS or time.perf_counter() < end:
        took = {name: one.call() for name, one in loaded.items()}
        route.append(sum(took[name] for name in manifest.route.parts))
    measured = {name: one.measured() for name, one in loaded.items()}
    for one in loaded.values():
        one.part.close()
    return Measured(measured, Times.of(route), threads_in_use(), _resident())


def _fed(
    found: Mapping[str, Runnable], bundle: Bundle, known: dict[str, Array]
) -> dict[str, _Loaded]:
    """Every part loaded and called once: those of the route first, which make what others read."""
    first = bundle.manifest.route.parts
    loaded: dict[str, _Loaded] = {}
    for name in (*first, *(name for name in found if name not in first)):
        loaded[name] = _Loaded(found[name], bundle.manifest.parts[name].batch)
        made = loaded[name].feed(known)
        if name in first:
            known |= made
    return {name: loaded[name] for name in found}


def _resident() -> int:
    """Bytes of this process that are in memory."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * resource.getpagesize()
