# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false
"""What does one run take? One side of a comparison, alone in its process.

The threads of splitc, onnxruntime and OpenBLAS spin while they wait for work,
and would take the processor from one another inside one process. Started by
`sides.Worker`: reads requests from stdin, a JSON object a line, answers each with
a line of JSON, and dies with a message on stderr where it cannot go on.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from cut_side import Parts

from splitc.errors import SplitcError

_SHORT_S = 0.5


class Side(ABC):
    """Something that can be run again and again on inputs that lie ready."""

    _last_s = 0.0

    @abstractmethod
    def once(self) -> None:
        """Run once."""

    def run(self, count: int) -> list[float]:
        """Seconds of each of `count` runs, after one that wakes the threads."""
        self.warm()
        seconds: list[float] = []
        for _ in range(count):
            start = time.perf_counter()
            self.once()
            seconds.append(time.perf_counter() - start)
        self._last_s = seconds[-1]
        return seconds

    def warm(self) -> None:
        """Wake the threads; long runs do it in no time themselves."""
        if self._last_s < _SHORT_S:
            self.once()


class Splitc(Side):
    """What splitc compiles, run as it ships."""

    def compile(
        self, model: str, board: str, part: str, precision: str = "float32"
    ) -> dict[str, Any]:
        """Compile a simplified ONNX model into a folder; seconds a stage, peak memory, kernels."""
        import onnx

        import splitc
        from splitc.build.parts import describe_part
        from splitc.cost.board import load_board
        from splitc.cost.precision import at_precision
        from splitc_targets import pipeline
        from splitc_targets.backend import TvmBackend
        from splitc_targets.tvm import adapter

        proto = onnx.ModelProto.FromString(Path(model).read_bytes())
        target = at_precision({board: load_board(board)}, precision)[board]
        folder = Path(part)
        folder.mkdir(exist_ok=True)
        clock = [time.perf_counter()]
        lowered = adapter.lower(proto)
        clock.append(time.perf_counter())
        code = pipeline.compile_module(lowered, target)
        clock.append(time.perf_counter())
        built = TvmBackend().write(code, target, folder, runtime=True)
        clock.append(time.perf_counter())
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak_mb = max(resource.getrusage(who).ru_maxrss for who in whose) / 1024
        graph = splitc.load(Path(model), simplify=False).graph
        describe_part(built, graph, target, folder)
        _source(folder).write_text(json.dumps({"model": model, "board": board}), "utf-8")
        return {
            "lower_s": clock[1] - clock[0],
            "compile_s": clock[2] - clock[1],
            "link_s": clock[3] - clock[2],
            "peak_mb": peak_mb,
            "kernels": [asdict(kernel) for kernel in code.kernels],
        }

    def load(self, part: str, inputs: str) -> None:
        """Load a compiled part and lay its inputs ready."""
        from splitc.runtime.part import load_part
        from splitc.runtime.tvm_abi import aligned

        self._part = load_part(Path(part))
        source = json.loads(_source(Path(part)).read_text("utf-8"))
        self._model, self._board = Path(source["model"]).read_bytes(), source["board"]
        self._inputs: list[Any] = []
        for array in _read(inputs):
            self._inputs.append(aligned(array.shape, array.dtype))
            self._inputs[-1][...] = array
        self._bare, self._result = _bare(self._part, self._inputs)

    def once(self) -> None:
        """Run once, into the same memory."""
        self._bare()

    def outputs(self, target: str) -> None:
        """Write what a run gives."""
        # Not by the part's own `run`, which would have the bare call write where its results were.
        self.once()
        np.savez(target, *self._result)

    def functions(self, count: int) -> list[dict[str, list[float]]]:
        """For each of `count` runs: seconds of every call, by function.

        A part calls its kernels directly. So they are timed as TVM runs them in this process,
        in code that tells of each.
        """
        import onnx

        from splitc.cost.board import load_board
        from splitc_targets import pipeline
        from splitc_targets.tvm import adapter

        runs: list[dict[str, list[float]]] = []
        lowered = adapter.lower(onnx.ModelProto.FromString(self._model))
        code = pipeline.compile_module(lowered, load_board(self._board), timed=True)
        call = code.here()
        for _ in range(count + 1):
            began = call(*self._inputs)[-1] @ np.array((10**9, 1))
            runs.append({})
            for each, took in zip(code.calls, np.diff(began), strict=True):
                runs[-1].setdefault(each.name, []).append(took / 1e9)
        return runs[1:]


def _source(folder: Path) -> Path:
    """What a part was compiled from, beside its folder: a stranger in it would be refused."""
    return folder.with_name(f"{folder.name}.source.json")


def _bare(part: Any, inputs: list[Any]) -> tuple[Callable[[], Any], list[Any]]:
    """A call of a loaded part's function with its arguments ready, and where it writes."""
    results = part.run(inputs)
    call = vars(part)["_loaded"].free[-1]
    return lambda: call._arguments.call(call._main), results


class Onnxruntime(Side):
    """onnxruntime on the CPU: every graph optimisation, sequential execution."""

    def load(self, models: list[str], inputs: str, *, profile: bool = False) -> int:
        """Load the fastest of some models that compute the same; says which.

        With `profile`, `kernel_seconds` says later what each node took.
        """
        self._rounds: list[tuple[int, int]] = []
        self._runs = 0
        self._folder = tempfile.TemporaryDirectory()
        arrays = _read(inputs)
        sessions = [self._bind(model, arrays, profile) for model in models]
        best = 0 if len(sessions) == 1 else int(np.argmin([self._trial(s) for s in sessions]))
        self._session, self._binding = sessions[best]
        return best

    def _bind(self, model: str, arrays: list[Any], profile: bool) -> tuple[Any, Any]:
        import onnxruntime

        ort: Any = onnxruntime
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["SPLITC_BENCH_THREADS"])
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4
        options.enable_profiling = profile
        options.profile_file_prefix = f"{self._folder.name}/profile"
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for entry, array in zip(session.get_inputs(), arrays, strict=True):
            binding.bind_ortvalue_input(entry.name, ort.OrtValue.ortvalue_from_numpy(array))
        for result in session.get_outputs():
            binding.bind_output(result.name)
        return session, binding

    def _trial(self, session: tuple[Any, Any]) -> float:
        self._session, self._binding = session
        return min(self.run(3))

    def once(self) -> None:
        """Run once."""
        self._session.run_with_iobinding(self._binding)
        self._runs += 1

    def run(self, count: int) -> list[float]:
        """Seconds of each of `count` runs, after one that wakes the threads."""
        seconds = super().run(count)
        self._rounds.append((self._runs - count, self._runs))
        return seconds

    def outputs(self, target: str) -> None:
        """Write what a run gives."""
        self.once()
        np.savez(target, *self._binding.copy_outputs_to_cpu())

    def kernel_seconds(self) -> list[list[float]]:
        """For each `run` since `load`, seconds of the node that is no change of layout."""
        events = json.loads(Path(self._session.end_profiling()).read_text("utf-8"))
        kernels = [
            event["dur"] / 1e6
            for event in sorted(events, key=lambda event: event["ts"])
            if event["cat"] == "Node"
            and event["name"].endswith("_kernel_time")
            and not event["args"]["op_name"].startswith(("Reorder", "Transpose"))
        ]
        each = len(kernels) // self._runs
        runs: list[float] = [sum(kernels[k * each : (k + 1) * each]) for k in range(self._runs)]
        return [runs[start:end] for start, end in self._rounds]


class Openvino(Side):
    """OpenVINO on the CPU, one request at a time."""

    def load(self, models: list[str], inputs: str, *, precision: str = "f32") -> str:
        """Load the first of some models; says what it computes in.

        Args:
            models: Files.
            inputs: What `write_arrays` wrote.
            precision: What it shall compute in; with "" what it takes by itself, which is
                bfloat16 where the processor multiplies that.
        """
        import openvino  # pyright: ignore[reportMissingImports]

        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": int(os.environ["SPLITC_BENCH_THREADS"]),
            "PERFORMANCE_HINT": "LATENCY",
        }
        if precision:
            settings["INFERENCE_PRECISION_HINT"] = precision
        made = openvino.Core().compile_model(models[0], "CPU", settings)
        self._graph: Any = made.get_runtime_model()
        self._request = made.create_infer_request()
        for place, array in enumerate(_read(inputs)):
            self._request.set_input_tensor(place, openvino.Tensor(array))
        self._results = len(made.outputs)
        return made.get_property("INFERENCE_PRECISION_HINT").to_string()

    def products_on_bytes(self) -> tuple[int, int]:
        """How many convolutions and matrix products it computes on bytes, and of how many."""
        products = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
        told = [node.get_rt_info() for node in self._graph.get_ops()]
        types = [_told(each, "primitiveType") for each in told
                 if _told(each, "layerType") in products]  # fmt: skip
        return sum(each.endswith("_I8") for each in types), len(types)

    def once(self) -> None:
        """Run once."""
        self._request.infer()

    def outputs(self, target: str) -> None:
        """Write what a run gives."""
        self.once()
        made = range(self._results)
        np.savez(target, *(self._request.get_output_tensor(k).data for k in made))


def _told(info: Any, name: str) -> str:
    """What OpenVINO tells of a node."""
    found = info[name]
    return str(getattr(found, "value", found))


class Numpy(Side):
    """A square matrix product by numpy's BLAS."""

    def load(self, inputs: str) -> None:
        """Lay two matrices ready."""
        self._left, self._right = _read(inputs)
        self._made = np.empty_like(self._left)

    def once(self) -> None:
        """Run once."""
        np.matmul(self._left, self._right, out=self._made)


def _read(path: str) -> list[Any]:
    with np.load(path) as stored:
        return [stored[f"arr_{k}"] for k in range(len(stored.files))]


def main() -> None:
    """`python worker.py SIDE`: answer requests until there are no more."""
    sides: dict[str, type[Any]] = {
        "splitc": Splitc, "onnxruntime": Onnxruntime, "openvino": Openvino, "numpy": Numpy,
        "parts": Parts,
    }  # fmt: skip
    side = sides[sys.argv[1]]()
    # Whatever native code prints goes to stderr: stdout carries answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = getattr(side, request.pop("do"))(**request)
        except SplitcError as error:
            raise SystemExit(" ".join(str(error).split())) from error
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
