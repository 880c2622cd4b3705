# SPDX-License-Identifier: Apache-2.0
"""How long do front end, grouping and `--cut auto` take on networks of up to 10,000 layers?

Bar: 10,000 layers in under 5 s, growth close to linear. Residual blocks, so that
the cut search has stretches to solve, not only a chain.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

import splitc
from common import arguments, finish, median
from splitc.passes.base import make_pass


def residual_network(layers: int) -> ModelProto:
    """An ONNX network of about `layers` layers: blocks of conv, relu, conv, add, relu."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.standard_normal((4, 4, 1, 1)) / 2).astype(np.float32), f"w{k}")
        for k in range(8)
    ]
    nodes: list[Any] = []
    x = "x"
    for b in range(layers // 5):
        nodes.append(helper.make_node("Conv", [x, f"w{b % 8}"], [f"b{b}a"]))
        nodes.append(helper.make_node("Relu", [f"b{b}a"], [f"b{b}b"]))
        nodes.append(helper.make_node("Conv", [f"b{b}b", f"w{(b + 1) % 8}"], [f"b{b}c"]))
        nodes.append(helper.make_node("Add", [f"b{b}c", x], [f"b{b}d"]))
        nodes.append(helper.make_node("Relu", [f"b{b}d"], [f"b{b}"]))
        x = f"b{b}"
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def measure(proto: ModelProto) -> tuple[int, dict[str, float]]:
    """Seconds of each stage, and the number of layers."""
    start = time.perf_counter()
    model = splitc.load(proto)
    loaded = time.perf_counter()
    make_pass("group-blocks", {})(model)
    grouped = time.perf_counter()
    table = splitc.find_cuts(
        model, head="rpi4", tail="x86-64-v3", link=splitc.Link("20Mbit", rtt="5ms")
    )
    assert table.best.cut.is_proper
    found = time.perf_counter()
    seconds = {"front end": loaded - start, "grouping": grouped - loaded, "cuts": found - grouped}
    return len(model.graph), {**seconds, "total": found - start}


def main() -> None:
    """Measure 1k, 3k and 10k layers in turn, several times."""
    options = arguments(__doc__ or "")
    sizes = [300, 1000, 3000] if options.quick else [1000, 3000, 10000]
    rounds = 2 if options.quick else 5
    protos = {size: residual_network(size) for size in sizes}
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    counts: dict[int, int] = {}
    for _ in range(rounds):
        for size, proto in protos.items():
            counts[size], seconds = measure(proto)
            runs[size].append(seconds)
    stages = list(runs[sizes[0]][0])
    medians = {
        size: {stage: median([run[stage] for run in runs[size]]) for stage in stages}
        for size in sizes
    }
    print("layers  " + "".join(f"{stage + ' s':>14}" for stage in stages))
    for size in sizes:
        figures = "".join(f"{medians[size][stage]:14.2f}" for stage in stages)
        print(f"{counts[size]:6}  {figures}")
    small, large = sizes[0], sizes[-1]
    exponent = math.log(medians[large]["total"] / medians[small]["total"]) / math.log(
        counts[large] / counts[small]
    )
    print(f"growth exponent over {counts[small]} to {counts[large]} layers: {exponent:.2f}")
    figures = {"medians_s": {str(k): v for k, v in medians.items()}, "exponent": exponent}
    finish(figures, options.json)


if __name__ == "__main__":
    main()
