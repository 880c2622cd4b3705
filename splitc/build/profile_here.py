# SPDX-License-Identifier: Apache-2.0
"""What each layer of a network takes on this machine, in the code that splitc makes of it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.build.backend import (
    EMIT,
    Backend,
    KernelCall,
    Timing,
    backend_for,
    own_layers,
)
from splitc.build.part_job import PartJob, Site, agreed_layouts
from splitc.build.parts import describe_part
from splitc.build.profile_reading import read_network
from splitc.build.refusals import refuse_contract
from splitc.build.route_spec import RouteSpec
from splitc.bundle.contents import plain_name
from splitc.bundle.samples import seeded_inputs
from splitc.cost.board import Board, load_board, processor_name, why_not_here
from splitc.cost.profile import KernelTime, Profile, Whole
from splitc.cost.topology import DEVICE
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Network
from splitc.ir.segment import segments
from splitc.runtime.library import threads_in_use
from splitc.runtime.manifest import TensorSpec
from splitc.runtime.part import Part, load_part
from splitc.scratch import scratch
from splitc.version import __version__

ROUNDS = 30
_FEWEST = 3
_MOST_TIMES = 4
"""Times that so many rounds are run until as many were calm."""
_TIMES = "splitc.times"


def profile(
    model: Network | str | Path,
    *,
    target: Board | str = "host",
    cuts: Sequence[str | RouteSpec] = (),
    threads: int | None = None,
    rounds: int = ROUNDS,
    name: str | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> Profile:
    """Measure every layer of a network on this machine, as its compiled code computes it.

    Each round runs the network twice: as it is, and in code that reads a clock behind every
    kernel. Runs in which the machine gave the processor to another program do not count where
    there are enough others; of those that do the median. A first round warms caches and threads.
    A kernel that does the work of several layers gives its time to them together: where such
    a layer is the last of a head, the head's kernel ends there, and takes other than its share.
    Layers named in `cuts` end kernels, as they do in a bundle that is cut there.

    Args:
        model: A loaded network, or what `splitc.load` takes.
        target: What is compiled for: a board whose code this machine runs.
        cuts: Nested cuts, the smallest head first, each with `+` between its layers: what is
            between them is compiled by itself.
        threads: Of compiled code; by default those of `SPLITC_NUM_THREADS`, or one a core.
        rounds: How many, at least 3.
        name: The network's name in the profile; by default the file's.
        seed: Of the inputs.
        progress: Called with each step's name as it begins.

    Raises:
        UsageError: This machine does not run the target's code, or the number of threads was
            settled before in this process.
        SplitcError: The network cannot be read, cut there, or compiled.
    """
    board = load_board(target)
    backend = _backend(board)
    if rounds < _FEWEST:
        raise UsageError(f"{rounds} rounds are too few to measure in", hint=f"at least {_FEWEST}")
    _settle_threads(threads)
    loaded, called = read_network(model, backend, name, progress)
    with scratch() as folder:
        pieces = [
            _Piece.built(job, folder, progress) for job in _jobs(loaded, cuts, board, backend)
        ]
        progress(f"measuring in {rounds} rounds")
        measured = _measured(pieces, seeded_inputs(loaded.graph.inputs, seed), rounds)
        used = threads_in_use() or 1
    return measured.profile(loaded.graph, plain_name(called), board, used)


def _backend(board: Board) -> Backend:
    """What writes code that can be timed, for a board whose code this machine runs."""
    made = board.processor
    why = why_not_here(made.isa, made.cpu, made.features)
    if why:
        hint = "--rpc HOST:PORT measures on the board, --static predicts from the code"
        raise UsageError(f"this machine runs no code for {board.name}", why=why, hint=hint)
    backend = backend_for(board, EMIT)
    assert isinstance(backend, Timing)
    return backend


def _settle_threads(threads: int | None) -> None:
    """Have compiled code of this process run in so many threads.

    Raises:
        UsageError: It does already, in another number.
    """
    if threads is None:
        return
    running = threads_in_use()
    if running is not None and running != threads:
        why = f"compiled code has run in it, in {running}"
        raise UsageError(f"this process cannot measure with {threads} threads", why=why)
    os.environ["SPLITC_NUM_THREADS"] = str(threads)


def _jobs(
    network: Network, cuts: Sequence[str | RouteSpec], board: Board, backend: Backend
) -> list[PartJob]:
    """The parts that cuts leave, all for this machine."""
    specs = [RouteSpec(one) if isinstance(one, str) else one for one in cuts]
    found = segments(network.graph, [one.cut_in(network.graph) for one in specs])
    site = Site(DEVICE, board, backend)
    layouts = agreed_layouts([(one, site) for one in found], network.graph)
    return [PartJob(one, site, network, one.name, layouts) for one in found]


@dataclass(frozen=True)
class _Piece:
    """A part, compiled as it is and in code that is timed.

    Args:
        plain: The part as `splitc compile` makes it.
        timed: The same; its last result is when each call began.
        calls: Those calls.
        tools: Versions of what made the code.
    """

    plain: Part
    timed: Part
    calls: tuple[KernelCall, ...]
    tools: dict[str, str]

    @staticmethod
    def built(job: PartJob, folder: Path, progress: Callable[[str], None]) -> _Piece:
        """Compile a part twice and load both."""
        network, backend = job.extract(), job.backend
        refuse_contract(network)
        assert isinstance(backend, Timing)
        progress(f"compiling {job.name} for {job.board.name}")
        lowered = backend.lower(network)
        code, calls = backend.compile_timed(lowered, job.board)
        clock = TensorSpec(name=_TIMES, shape=(len(calls) + 1, 2), dtype="int64",
                           bytes=16 * (len(calls) + 1))  # fmt: skip
        tools: dict[str, str] = {}

        def linked(made: Any, kind: str, *more: TensorSpec) -> Part:
            place = folder / kind / job.name
            place.mkdir(parents=True)
            built = backend.write(made, job.board, place, runtime=True)
            tools.update(built.tools)
            describe_part(
                built, network.graph, job.board, place, job.name, specs=job.specs, more=more
            )
            return load_part(place)

        plain = linked(backend.compile(lowered, job.board), "plain")
        known = job.network.graph.index
        calls = tuple(replace(call, layers=own_layers(call.layers, known)) for call in calls)
        return _Piece(plain, linked(code, "timed", clock), calls, tools)

    def run(self, known: Arrays) -> dict[str, Array]:
        """What it makes of tensors by name."""
        given, made = self.plain.contract, self.plain.run(self.inputs(known))
        return {spec.name: array for spec, array in zip(given.outputs, made, strict=True)}

    def inputs(self, known: Arrays) -> list[Array]:
        """What it reads among tensors by name."""
        return [known[spec.name] for spec in self.plain.contract.inputs]


@dataclass(frozen=True)
class _Runs:
    """Runs that count, in milliseconds: [runs] or [runs, calls].

    Args:
        ms: Those in which no other program took the processor, where there are enough.
        left_out: How many others there were.
        disturbed: Whether others count too, as hardly any were calm.
    """

    ms: Array
    left_out: int
    disturbed: bool

    @staticmethod
    def of(taken: Sequence[tuple[bool, Any]], wanted: int) -> _Runs:
        """Those of some runs, each with whether it was calm."""
        calm = [ms for is_calm, ms in taken if is_calm]
        enough = len(calm) >= max(_FEWEST, wanted // 4)
        kept = calm[:wanted] if enough else [ms for _, ms in taken]
        return _Runs(np.array(kept), len(taken) - len(kept), not enough)


@dataclass(frozen=True)
class _Measured:
    """What was found.

    Args:
        calls: All calls of one inference.
        timed: Runs of code that is timed, by calls.
        whole: Runs of the code as it is.
        load: The machine's load average before.
        tools: Versions of what made the code.
    """

    calls: tuple[KernelCall, ...]
    timed: _Runs
    whole: _Runs
    load: float
    tools: dict[str, str]

    def profile(self, graph: LayerGraph, name: str, board: Board, threads: int) -> Profile:
        """The profile of a network."""
        low, ms, high = np.percentile(self.timed.ms, (25, 50, 75), axis=0)
        spread = (high - low).tolist()
        kernels = [
            KernelTime(name=call.name, layers=call.layers, ms=one, spread_ms=off)
            for call, one, off in zip(self.calls, ms.tolist(), spread, strict=True)
        ]
        low, whole, high = (float(one) for one in np.percentile(self.whole.ms, (25, 50, 75)))
        versions = {"splitc": __version__, **self.tools, "numpy": np.__version__}
        plural = "" if threads == 1 else "s"
        return Profile.of_kernels(
            graph, kernels, network=name, versions=versions, note=f"code for {board.name}",
            machine=f"{processor_name() or board.title}, {threads} thread{plural}",
            whole=Whole(
                ms=whole, spread_ms=high - low, rounds=len(self.whole.ms),
                left_out=self.whole.left_out, threads=threads, load=self.load,
                disturbed=self.whole.disturbed or self.timed.disturbed,
            ),
        )  # fmt: skip


def _measured(pieces: Sequence[_Piece], feed: Arrays, rounds: int) -> _Measured:
    """Run all pieces in turns, as they are and timed, until enough runs were calm."""
    load = os.getloadavg()[0]
    known = dict(feed)
    for piece in pieces:
        known |= piece.run(known)
    given = [(piece, piece.inputs(known)) for piece in pieces]
    whole: list[tuple[bool, float]] = []
    timed: list[tuple[bool, Array]] = []
    for number in range(rounds * _MOST_TIMES + 1):
        before, start = _interrupted(), time.perf_counter()
        for piece, inputs in given:
            piece.plain.run(inputs)
        took, between = time.perf_counter() - start, _interrupted()
        times = [piece.timed.run(inputs)[-1] for piece, inputs in given]
        if number > 0:  # the first round warms up
            whole.append((between == before, took * 1e3))
            timed.append((_interrupted() == between, np.concatenate([*map(_durations, times)])))
        if min(sum(calm for calm, _ in runs) for runs in (whole, timed)) >= rounds:
            break
    for piece in pieces:
        piece.plain.close()
        piece.timed.close()
    calls = tuple(call for piece in pieces for call in piece.calls)
    tools = {name: version for piece in pieces for name, version in piece.tools.items()}
    return _Measured(calls, _Runs.of(timed, rounds), _Runs.of(whole, rounds), load, tools)


def _interrupted() -> int:
    """How often the machine took the processor from a thread of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _durations(times: Array) -> Array:
    """Milliseconds between readings of a clock: seconds and nanoseconds in two columns."""
    return np.diff(times @ np.array((10**9, 1))) / 1e6
