# SPDX-License-Identifier: Apache-2.0
"""Does a recurrent layer take less than in onnxruntime and OpenVINO?

Layers of 256 units over 50 steps of 256 numbers, one sequence, float32 on all sides (OpenVINO
would take bfloat16 by itself where the processor multiplies that). Sides run in turn, with the
same threads, each in its own process; results are held against onnxruntime's. The bar is for the
LSTM: at most 0.9 of the better of the others.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper
from sides import medians, opened, outputs, write_arrays

from common import Others, finish, numbers, parser, said

STEPS, WIDTH = 50, 256
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
BAR = 0.9
BATCH_S = 0.05
"""Seconds of runs of a side in a round."""


def layer(op: str) -> tuple[ModelProto, np.ndarray[Any, Any]]:
    """A layer as a model, and its input."""
    draw = np.random.default_rng(0)
    rows = GATES[op] * WIDTH
    shapes = {"w": (1, rows, WIDTH), "r": (1, rows, WIDTH), "b": (1, 2 * rows)}
    stored = [
        numpy_helper.from_array((draw.standard_normal(shape) / 16).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node(op, ["x", *shapes], ["y"], "layer", hidden_size=WIDTH)
    graph = helper.make_graph(
        [node], op.lower(), [helper.make_tensor_value_info("x", 1, [STEPS, 1, WIDTH])],
        [helper.make_tensor_value_info("y", 1, [STEPS, 1, 1, WIDTH])], stored,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made, draw.standard_normal((STEPS, 1, WIDTH)).astype(np.float32)


def measured(op: str, threads: int, rounds: int, folder: Path) -> dict[str, float]:
    """Median milliseconds of each side."""
    proto, x = layer(op)
    model, inputs, part = folder / f"{op}.onnx", folder / f"{op}.npz", folder / f"{op}{threads}"
    model.write_bytes(proto.SerializeToString())
    write_arrays(inputs, x)
    others = ["onnxruntime", *(["openvino"] if find_spec("openvino") else [])]
    with ExitStack() as stack:
        models = dict.fromkeys(("splitc", *others), model)
        sides = opened(stack, threads, models, inputs, part)
        found = outputs(sides, folder)
        for name, results in found.items():
            right = found["onnxruntime"][0]
            np.testing.assert_allclose(results[0], right, atol=1e-4, err_msg=name)
        return medians(sides, rounds, BATCH_S)


def main() -> None:
    """Measure each layer with one thread and with two."""
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=numbers, default=[1, 2], help="such as 1,2")
    options = made.parse_args()
    rounds, around = (5 if options.quick else 25), Others()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for op in GATES:
            for threads in options.threads:
                times = measured(op, threads, rounds, Path(folder))
                better = min(took for name, took in times.items() if name != "splitc")
                ratio = times["splitc"] / better
                what = f"{op}, {threads} thread{'s' * (threads > 1)}, over the better"
                if op == "LSTM":
                    said(what, ratio, BAR)
                else:
                    print(f"  {what:46} {ratio:8.2f}")
                print("    " + "  ".join(f"{name} {took:.3f} ms" for name, took in times.items()))
                figures[f"{op} {threads}"] = {"ratio": ratio, **times}
    print(f"others took {around.share():.0%} of the processors meanwhile")
    finish(figures, options.json)


if __name__ == "__main__":
    main()
