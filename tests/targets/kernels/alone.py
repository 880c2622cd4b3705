# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Kernels written by rules, each compiled alone and compared with onnxruntime's result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import tvm
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from splitc.cost.board import load_board, x86_level
from splitc_targets.loops import emit
from splitc_targets.machine.machine import Machine, machine_of
from splitc_targets.tvm import adapter

Floats = NDArray[np.float32]

BOARDS = [
    board
    for board in ("x86-64-v2", "x86-64-v3", "x86-64-v4")
    if x86_level() is not None and board <= str(x86_level())
]
"""The x86-64 levels that code can be built for and run on this machine."""


def machine(board: str) -> Machine:
    """The machine of a board."""
    return machine_of(load_board(board))


def reference(
    nodes: Sequence[NodeProto],
    inputs: dict[str, Floats],
    weights: dict[str, Any],
    *,
    opset: int = 17,
) -> Floats:
    """The last node's first result, by onnxruntime."""
    graph = helper.make_graph(
        list(nodes),
        "kernel",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    (result,) = session.run(None, dict(inputs))
    return np.asarray(result, np.float32)


def run(made: Any, board: str, inputs: Sequence[Floats], size: int) -> Floats:
    """A kernel's flat result (its last argument) of `size` elements, from flat inputs."""
    library = emit.compile_alone(made, adapter.target_of(load_board(board)))
    handed = [tvm.runtime.tensor(np.ascontiguousarray(a, np.float32).ravel()) for a in inputs]
    result = tvm.runtime.tensor(np.full(size, np.nan, np.float32))
    library["main"](*handed, result)
    return result.numpy()


def channels_last(maps: Floats) -> Floats:
    """[batch][channels][rows][columns] with the channels last, flat."""
    return np.ascontiguousarray(maps.transpose(0, 2, 3, 1)).ravel()


def channels_first(flat: Floats, shape: Sequence[int]) -> Floats:
    """A flat channels-last result as [batch][channels][rows][columns], which is `shape`."""
    n, c, h, w = shape
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def numbers(seed: int, kind: str, *shape: int) -> Floats:
    """Random values: "plain", "huge", "tiny", "negative" or "denormal"."""
    values = np.random.default_rng(seed).standard_normal(shape)
    made = {
        "plain": values,
        "huge": values * 1e15,
        "tiny": values * 1e-15,
        "negative": -np.abs(values) - 1,
        "denormal": values * 1e-39,
    }[kind]
    return made.astype(np.float32)


KINDS = ("plain", "huge", "tiny", "negative", "denormal")


def assert_close(got: Floats, want: Floats, *, ulps: float = 16) -> None:
    """Equal within rounding errors of sums as large as the largest result."""
    assert got.shape == want.shape
    scale = float(np.abs(want).max(initial=0.0))
    bound = ulps * (scale * 2.0**-23 + 2.0**-149)
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)
