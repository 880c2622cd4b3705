# SPDX-License-Identifier: Apache-2.0
"""Which convolutions and matrix products does splitc run slower than onnxruntime?

Every distinct one of the networks, alone in a model, fp32, kernel time on both
sides: functions of splitc's code by a library between, nodes of onnxruntime by its
profiler, changes of layout at the ends left out. In turn, the same threads. "ms
lost" is the difference times how often the networks have the operator.
"""

from __future__ import annotations

import json
import re
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from networks import NAMES, build
from onnx import ModelProto, NodeProto, helper, numpy_helper
from sides import Worker, WorkerError, in_turn, sgemm_flops, write_arrays

import splitc
from common import Others, finish, median, numbers, parser, some_of
from splitc.frontend.onnx.flops import attributes, flops
from splitc.frontend.onnx.model import OnnxModel

OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUICK = ["squeezenet"]
_LAYOUT = {"", "fused", "transpose", "layout", "transform", "reshape", "squeeze", "expand", "dims"}
"""Words in the names of functions that only change the layout."""


@dataclass(frozen=True)
class Operand:
    """An input of an operator: its shape, and whether the network stores it."""

    shape: tuple[int, ...]
    stored: bool


@dataclass(frozen=True)
class Operator:
    """A convolution or matrix product, told apart by shapes and attributes."""

    op: str
    operands: tuple[Operand, ...]
    attributes: tuple[tuple[str, Any], ...]
    result: tuple[int, ...]
    flops: int

    def __str__(self) -> str:
        left, right = (operand.shape for operand in self.operands[:2])
        if self.op in ("Gemm", "MatMul"):
            turned = "t" if dict(self.attributes).get("transB") else ""
            return f"{self.op.lower()} {_by(left)} * {_by(right)}{turned}"
        given = dict(self.attributes)
        parts = [f"{self.op.lower()} {_by(left[1:])} > {self.result[1]} {_by(right[2:])}"]
        parts += [f"/{given['strides'][0]}"] if max(given["strides"]) > 1 else []
        parts += [f"g{given['group']}"] if given["group"] > 1 else []
        return " ".join(parts)

    def model(self) -> ModelProto:
        """The operator alone; what the network stores is stored here too."""
        rng = np.random.Generator(np.random.PCG64(0))
        names = [f"operand_{k}" for k in range(len(self.operands))]
        entries: list[onnx.ValueInfoProto] = []
        stored: list[onnx.TensorProto] = []
        for name, operand in zip(names, self.operands, strict=True):
            if operand.stored:
                values = rng.standard_normal(operand.shape, np.float32) * np.float32(0.1)
                stored.append(numpy_helper.from_array(values, name))
            else:
                entries.append(_info(name, operand.shape))
        node = helper.make_node(self.op, names, ["result"], "node", **dict(self.attributes))
        result = [_info("result", self.result)]
        graph = helper.make_graph([node], "operator", entries, result, stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _info(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def operators(model: OnnxModel) -> Counter[Operator]:
    """The distinct convolutions and matrix products of a network, and how often each occurs."""
    computed = {tensor.name for layer in model.graph.layers for tensor in layer.outputs}
    found: Counter[Operator] = Counter()
    for node in model.proto.graph.node:
        if node.op_type not in OPS or node.output[0] not in computed:
            continue
        shapes = {name: model.tensors[name].static_shape for name in node.input if name}
        operands = tuple(Operand(shapes[n], n not in computed) for n in node.input if n)
        given = tuple(sorted({**_defaults(node, shapes), **_plain(node)}.items()))
        result = model.tensors[node.output[0]].static_shape
        found[Operator(node.op_type, operands, given, result, flops(node, model.tensors))] += 1
    return found


def _defaults(node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What an attribute that is left out means, so that saying it makes no difference."""
    if node.op_type == "Gemm":
        return {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    if node.op_type == "MatMul":
        return {}
    kernel = tuple(shapes[node.input[1]][2:])
    ones = (1,) * len(kernel)
    return {
        "group": 1, "strides": ones, "dilations": ones, "pads": (0,) * 2 * len(kernel),
        "kernel_shape": kernel,
    }  # fmt: skip


def _plain(node: NodeProto) -> dict[str, Any]:
    return {
        key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        for key, value in attributes(node).items()
    }


@dataclass(frozen=True)
class Row:
    """An operator measured; `failure` says why there is no figure."""

    label: str
    count: int
    ms_lost: float = 0.0
    ratio: float = 0.0
    splitc_ms: float = 0.0
    onnxruntime_ms: float = 0.0
    splitc_gflops: float = 0.0
    onnxruntime_gflops: float = 0.0
    sgemm_share: float = 0.0
    failure: str = ""

    def __str__(self) -> str:
        if self.failure:
            return f"  failed {self.count:3}x {self.label}: {self.failure}"[:80]
        return (
            f"{self.ms_lost:8.2f} {self.ratio:6.2f} {self.splitc_gflops:7.1f} "
            f"{self.onnxruntime_gflops:6.1f} {self.sgemm_share:5.0%} {self.count:4}  {self.label}"
        )


TITLE = """\
      ms        GFLOP/s GFLOP/s    of
    lost  ratio  splitc    ort sgemm uses  operator"""


class Functions:
    """splitc's side: the time of what is not a change of layout."""

    def __init__(self, worker: Worker, ops: Mapping[str, str]) -> None:
        self._worker = worker
        self._ops = ops

    def run(self, count: int) -> list[float]:
        """Seconds of the operator in each of `count` runs."""
        runs: list[dict[str, list[float]]] = self._worker.ask("functions", count=count)
        return [
            sum(sum(calls) for name, calls in run.items() if self._computes(name)) for run in runs
        ]

    def _computes(self, name: str) -> bool:
        words = set(re.split(r"[^a-z]+", self._ops.get(name, name)))
        return not words <= _LAYOUT


def measure(
    operator: Operator, count: int, sides: tuple[Worker, Worker], sgemm: float, options: Namespace
) -> Row:
    """Compile an operator and time both sides in turn."""
    ours, theirs = sides
    with tempfile.TemporaryDirectory() as made:
        given, normal, inputs, part = (
            f"{made}/{name}" for name in ("given.onnx", "normal.onnx", "inputs.npz", "part")
        )
        proto = operator.model()
        Path(given).write_bytes(proto.SerializeToString())
        splitc.load(proto, simplify=False).save(Path(normal))
        rng = np.random.Generator(np.random.PCG64(1))
        shapes = [operand.shape for operand in operator.operands if not operand.stored]
        write_arrays(Path(inputs), *(rng.standard_normal(shape, np.float32) for shape in shapes))
        compiled = ours.ask("compile", model=normal, board="host", part=part)
        ours.ask("load", part=part, inputs=inputs)
        theirs.ask("load", models=[given], inputs=inputs, profile=True)
        functions = Functions(ours, {k["name"]: k["op"] for k in compiled["kernels"]})
        rounds, batch_s = (3, 0.02) if options.quick else (5, 0.05)
        pairs = list(in_turn(functions, theirs, rounds=rounds, batch_s=batch_s))
        # The first batches are those that `in_turn` sizes the others by.
        kernels: list[list[float]] = theirs.ask("kernel_seconds")[-len(pairs) :]
    mine, other = [median(pair[0]) for pair in pairs], [median(batch) for batch in kernels]
    splitc_s, ort_s = median(mine), median(other)
    rate = operator.flops / splitc_s
    return Row(
        str(operator), count, (splitc_s - ort_s) * 1e3 * count,
        median([m / o for m, o in zip(mine, other, strict=True)]), splitc_s * 1e3, ort_s * 1e3,
        rate / 1e9, operator.flops / ort_s / 1e9, rate / sgemm,
    )  # fmt: skip


def measure_all(
    found: Counter[Operator], threads: int, sgemm: float, options: Namespace
) -> list[Row]:
    """Every operator; after a failure both sides start afresh."""
    todo = list(found.items())
    rows: list[Row] = []
    while todo:
        with Worker("splitc", threads) as ours, Worker("onnxruntime", threads) as theirs:
            while todo:
                operator, count = todo.pop(0)
                try:
                    rows.append(measure(operator, count, (ours, theirs), sgemm, options))
                except WorkerError as error:
                    rows.append(Row(str(operator), count, failure=str(error)))
                    break
    return sorted(rows, key=lambda row: (not row.failure, -row.ms_lost))


def report(rows: Sequence[Row], threads: int, limit: int | None) -> None:
    """Print the rows, those that lose most first, and their sums."""
    good = [row for row in rows if not row.failure]
    ours, theirs = (
        sum(row.count * ms for row, ms in zip(good, column, strict=True))
        for column in ([r.splitc_ms for r in good], [r.onnxruntime_ms for r in good])
    )
    print(f"{TITLE}, {threads} thread(s)")
    for row in rows[:limit]:
        print(row)
    print(f"{len(good)} operators, {len(rows) - len(good)} failed; every use of each together: "
          f"splitc {ours:.1f} ms,\nonnxruntime {theirs:.1f} ms")  # fmt: skip


def slower(path: Path) -> set[str]:
    """Labels of the operators that an earlier run found slower than onnxruntime."""
    runs: dict[str, Any] = json.loads(path.read_text("utf-8"))["threads"]
    return {row["label"] for run in runs.values() for row in run["rows"] if row["ratio"] > 1.05}


def main() -> None:
    """Collect, measure, print."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(NAMES), metavar="A,B", help=", ".join(NAMES))
    made.add_argument("--threads", type=numbers, default=[2], metavar="1,2", help="default 2")
    made.add_argument("--limit", type=int, metavar="N", help="rows to print")
    made.add_argument("--again", type=Path, metavar="FILE",
                      help="only what was slower than onnxruntime in this --json file")  # fmt: skip
    options = made.parse_args()
    others = Others()
    found: Counter[Operator] = Counter()
    for name in options.networks or (QUICK if options.quick else NAMES):
        found += operators(splitc.load(build(name)))
    if options.again is not None:
        slow = slower(options.again)
        found = Counter({operator: n for operator, n in found.items() if str(operator) in slow})
    figures: dict[str, Any] = {}
    for threads in options.threads:
        with tempfile.TemporaryDirectory() as folder:
            sgemm = sgemm_flops(threads, Path(folder), quick=options.quick)
        print(f"sgemm with {threads} thread(s): {sgemm / 1e9:.1f} GFLOP/s")
        rows = measure_all(found, threads, sgemm, options)
        report(rows, threads, options.limit)
        figures[str(threads)] = {"sgemm_gflops": sgemm / 1e9, "rows": [asdict(r) for r in rows]}
    print(f"others took {others.share():.0%} of the processors meanwhile")
    finish({"others_share": others.share(), "threads": figures}, options.json)


if __name__ == "__main__":
    main()
