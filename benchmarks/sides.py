# SPDX-License-Identifier: Apache-2.0
"""How do two sides compare? Each in its own process, run in turn, never at once."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from networks import build
from onnx import helper, numpy_helper

import splitc
from common import ROOT, checkout_env, median
from nets import macs
from splitc.arrays import Array
from splitc.bundle.golden import seeded_inputs
from splitc.ir.graph import LayerGraph
from splitc.runtime.counted import kept_rows

_SIDE_S = 10.0
"""Seconds that the rounds of a side may take together."""
PAUSE_S = 0.05
"""Threads that wait for work go to sleep in less."""


class WorkerError(Exception):
    """A worker died; its last words."""


class Runs(Protocol):
    """Something to time."""

    def run(self, count: int) -> list[float]:
        """Seconds of each of `count` runs."""
        ...


class Worker:
    """A side in a process of its own, such as `splitc` or `onnxruntime`; see worker.py.

    Args:
        side: Which.
        threads: How many it may use.
        checkout: The version of splitc whose worker it is.
    """

    def __init__(self, side: str, threads: int, checkout: Path = ROOT) -> None:
        count = str(threads)
        names = ("SPLITC_BENCH_THREADS", "TVM_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                 "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # fmt: skip
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(checkout / "benchmarks" / "worker.py"), side],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**checkout_env(checkout), **dict.fromkeys(names, count)},
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Call a method of the worker's side.

        Raises:
            WorkerError: It died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer:
            return json.loads(answer)
        status = self._process.wait()
        self._errors.seek(0)
        said = [line for line in self._errors.read().splitlines() if line.strip()]
        raise WorkerError(said[-1] if said else f"{do}: exit status {status}")

    def run(self, count: int) -> list[float]:
        """Seconds of each of `count` runs of what is loaded."""
        return self.ask("run", count=count)


@dataclass(frozen=True)
class Network:
    """A network on disk: as it was made, as splitc's front end simplifies it, its inputs.

    Args:
        flops: Of convolutions and matrix products.
        graph: Its layers.
    """

    name: str
    original: Path
    simplified: Path
    inputs: Path
    flops: int
    graph: LayerGraph = field(repr=False)


def prepare(name: str, folder: Path, proto: onnx.ModelProto | None = None) -> Network:
    """Make a network, load it as `splitc compile` does, and write what workers read.

    Args:
        name: Of one that `networks.build` makes, or of the given one.
        folder: For the files.
        proto: Another network.
    """
    proto = proto or build(name)
    model = splitc.load(proto)
    network = Network(
        name, folder / f"{name}.onnx", folder / f"{name}.simplified.onnx",
        folder / f"{name}.inputs.npz", 2 * macs(model.graph), model.graph,
    )  # fmt: skip
    network.original.write_bytes(proto.SerializeToString())
    model.save(network.simplified)
    write_arrays(network.inputs, *seeded_inputs(model.graph.inputs, 0).values())
    return network


def write_arrays(path: Path, *arrays: Array) -> None:
    """Arrays in a file, in this order."""
    np.savez(path, *arrays)


def read_arrays(path: Path) -> list[Array]:
    """The arrays of a file that a worker wrote."""
    with np.load(path) as stored:
        return [stored[f"arr_{k}"] for k in range(len(stored.files))]


def in_turn(*sides: Runs, rounds: int, batch_s: float) -> Iterator[tuple[list[float], ...]]:
    """Rounds of seconds a run of each side, one batch after the other, a pause between.

    Every second round goes the other way round.

    Args:
        sides: What is timed.
        rounds: How many, unless that takes too long.
        batch_s: Seconds of runs of a side in a round.
    """
    singles = [side.run(1)[0] for side in sides]
    counts = [max(1, min(200, int(batch_s / single))) for single in singles]
    each_s = sum(single * count for single, count in zip(singles, counts, strict=True))
    rounds = min(rounds, max(3, int(len(sides) * _SIDE_S / each_s)))
    for k in range(rounds):
        found: list[list[float]] = [[] for _ in sides]
        order = range(len(sides))
        for turn in order if k % 2 == 0 else reversed(order):
            time.sleep(PAUSE_S)
            found[turn] = sides[turn].run(counts[turn])
        yield tuple(found)


def opened(
    stack: ExitStack, threads: int, models: Mapping[str, Path], inputs: Path, part: Path
) -> dict[str, Worker]:
    """Sides with a network loaded: splitc's compiled for this machine, others' as it is.

    Args:
        stack: Closes them.
        threads: Of each.
        models: The network of each, splitc among them.
        inputs: What `write_arrays` wrote.
        part: Where splitc's is compiled to.
    """
    sides = {name: stack.enter_context(Worker(name, threads)) for name in models}
    for name, side in sides.items():
        if name == "splitc":
            side.ask("compile", model=str(models[name]), board="host", part=str(part))
            side.ask("load", part=str(part), inputs=str(inputs))
        else:
            side.ask("load", models=[str(models[name])], inputs=str(inputs))
    return sides


def medians(sides: Mapping[str, Worker], rounds: int, batch_s: float) -> dict[str, float]:
    """Median milliseconds of each side's calls: batches of so many seconds, in turn."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    counts = {name: max(1, int(batch_s / min(side.run(5)))) for name, side in sides.items()}
    for number in range(rounds):
        for name in list(sides) if number % 2 else list(sides)[::-1]:
            took[name].append(1e3 * median(sides[name].run(counts[name])))
            time.sleep(PAUSE_S)
    return {name: median(times) for name, times in took.items()}


def outputs(sides: Mapping[str, Worker], folder: Path) -> dict[str, list[Array]]:
    """What each side computes."""
    found: dict[str, list[Array]] = {}
    for name, side in sides.items():
        side.ask("outputs", target=str(folder / f"{name}.npz"))
        found[name] = read_arrays(folder / f"{name}.npz")
    return found


def difference(first: Worker, second: Worker, folder: Path) -> float:
    """Largest difference of the sides' outputs, relative to the second's largest value."""
    written = (folder / "first.npz", folder / "second.npz")
    for side, path in zip((first, second), written, strict=True):
        side.ask("outputs", target=str(path))
    ours, theirs = (read_arrays(path) for path in written)
    # A part gives boxes that are kept in as many rows as there can be, the others do not.
    ours = [a if a.shape == b.shape else kept_rows(a) for a, b in zip(ours, theirs, strict=True)]
    return max(
        float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(ours, theirs, strict=True)
    )


def sgemm_flops(threads: int, folder: Path, *, quick: bool) -> float:
    """FLOP/s of the best single-precision product of square matrices: the machine's rate.

    The best of numpy's BLAS and onnxruntime, of several sizes, of several runs.
    """
    best = 0.0
    with Worker("numpy", threads) as blas, Worker("onnxruntime", threads) as ort:
        for size in (1024,) if quick else (1024, 1536, 2048):
            _write_product(folder, size)
            left, both = str(folder / "left.npz"), str(folder / "both.npz")
            blas.ask("load", inputs=both)
            ort.ask("load", models=[str(folder / "product.onnx")], inputs=left)
            for _ in range(4):
                for side in (blas, ort):
                    time.sleep(PAUSE_S)
                    best = max(best, 2 * size**3 / min(side.run(3)))
    return best


def _write_product(folder: Path, size: int) -> None:
    """Two matrices, and their product as a model in which the right one is stored."""
    rng = np.random.Generator(np.random.PCG64(0))
    left, right = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    write_arrays(folder / "left.npz", left)
    write_arrays(folder / "both.npz", left, right)
    entries = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [size, size]) for name in "ac"
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product", entries[:1], entries[1:],
        [numpy_helper.from_array(right, "b")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "product.onnx").write_bytes(model.SerializeToString())
