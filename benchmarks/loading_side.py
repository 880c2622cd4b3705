# SPDX-License-Identifier: Apache-2.0
"""`python loading_side.py SIDE WHAT INPUT`: load a network once and run it, alone in a process.

Imports nothing but what the side needs: the process's memory is measured. Prints figures as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RUNS = 5
CALLS = 3000

Figures = dict[str, float]


def timed(call: Callable[[], Any], count: int) -> float:
    """Median milliseconds of some calls, the first left out."""
    call()
    times: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def part_side(folder: Path, x: Path) -> Figures:
    """Load a part into this process."""
    from splitc.runtime.part import load_part

    array = np.load(x)
    start = time.perf_counter()
    with load_part(folder) as part:
        load_ms = (time.perf_counter() - start) * 1e3
        return {"load_ms": load_ms, "median_ms": timed(lambda: part.run([array]), RUNS)}


def onnxruntime_side(model: Path, x: Path) -> Figures:
    """Create onnxruntime's session in this process."""
    import onnxruntime

    ort: Any = onnxruntime
    array = np.load(x)
    start = time.perf_counter()
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    load_ms = (time.perf_counter() - start) * 1e3
    feed = {session.get_inputs()[0].name: array}
    return {"load_ms": load_ms, "median_ms": timed(lambda: session.run(None, feed), RUNS)}


def openvino_side(model: Path, x: Path, precision: str = "") -> Figures:
    """Compile the model by OpenVINO in this process, in a precision or what it takes by itself."""
    import openvino  # pyright: ignore[reportMissingImports]

    vino: Any = openvino
    array = np.load(x)
    start = time.perf_counter()
    settings = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    made = vino.Core().compile_model(str(model), "CPU", settings)
    load_ms = (time.perf_counter() - start) * 1e3
    return {"load_ms": load_ms, "median_ms": timed(lambda: made([array]), RUNS)}


def bundle_side(folder: Path, x: Path) -> Figures:
    """Run a bundle whole: opened for each call, and kept open."""
    from splitc.bundle.bundle import Bundle

    array = np.load(x)
    bundle = Bundle.open(folder)
    once_ms = timed(lambda: bundle.run(array), RUNS)
    with bundle.open_parts() as split:
        return {"once_ms": once_ms, "open_ms": timed(lambda: split(array), 4 * RUNS)}


def old_bundle_side(folder: Path, x: Path) -> Figures:
    """`Bundle.run` alone, for versions that have no other way."""
    import splitc

    array = np.load(x)
    bundle = splitc.Bundle.open(folder)
    return {"once_ms": timed(lambda: bundle.run(array), RUNS)}


def call_side(folder: Path, x: Path) -> Figures:
    """A call of a part beside one of its compiled function with the arguments at hand."""
    from splitc.runtime.part import load_part

    inputs = [np.load(x)]
    with load_part(folder) as part:
        part.run(inputs)
        ready: Any = vars(part)["_loaded"].free[0]
        arguments, function = ready._arguments, ready._main
        pairs = [
            (timed(lambda: part.run(inputs), CALLS // 10),
             timed(lambda: arguments.call(function), CALLS // 10))
            for _ in range(10)
        ]  # fmt: skip
    return {"call_us": statistics.median([p[0] for p in pairs]) * 1e3,
            "bare_us": statistics.median([p[1] for p in pairs]) * 1e3}  # fmt: skip


SIDES: dict[str, Callable[[Path, Path], Figures]] = {
    "part": part_side, "onnxruntime": onnxruntime_side, "openvino": openvino_side,
    "openvino f32": lambda model, x: openvino_side(model, x, "f32"),
    "bundle": bundle_side, "old bundle": old_bundle_side, "call": call_side,
}  # fmt: skip


def main() -> None:
    """Run one side."""
    name, what, x = sys.argv[1:]
    print(json.dumps(SIDES[name](Path(what), Path(x))))


if __name__ == "__main__":
    main()
