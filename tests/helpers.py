# SPDX-License-Identifier: Apache-2.0
"""What several tests share: small networks, text-in text-out, the shared data folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import splitc
from splitc.bundle.bundle import Bundle
from splitc.ir.graph import LayerGraph
from splitc.ir.model import GraphModel
from splitc.ir.printing import print_graph
from splitc.ir.text import parse_graph
from splitc.passes.base import Pass

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
"""For tests of what the extra `ray` brings."""


def shared(name: str) -> Path:
    """A file of the shared test data; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"shared data is not here: {name}")
    return path


def assert_rewrites(one: Pass, before: str, after: str) -> None:
    """The pass turns the graph of one text into the graph of the other."""
    got = one(GraphModel(parse_graph(before))).graph
    assert print_graph(got) == print_graph(parse_graph(after))


def graph_of(layers: Sequence[str], edges: Sequence[tuple[str, str]]) -> LayerGraph:
    """A layer DAG from names and edges; layers without predecessors are inputs."""
    from splitc.ir.graph import INPUT_OP, Layer, Tensor

    reads: dict[str, list[str]] = {name: [] for name in layers}
    for source, target in edges:
        reads[target].append(source)
    made = [
        Layer(name, "op" if read else INPUT_OP, tuple(read), (Tensor(name, (1,)),))
        for name, read in reads.items()
    ]
    sources = {source for source, _ in edges}
    return LayerGraph.sort(made, [name for name in layers if name not in sources])


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    weights: dict[str, np.ndarray[Any, Any]] | None = None,
    *,
    opset: int = 17,
) -> ModelProto:
    """An ONNX model of float inputs; results are typed by shape inference."""
    proto = helper.make_model(
        helper.make_graph(
            list(nodes),
            "test",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_empty_tensor_value_info(n) for n in outputs],
            [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    typed = onnx.shape_inference.infer_shapes(proto)
    return typed


def small_network(seed: int = 0, *, size: int = 12) -> ModelProto:
    """A residual network with a softmax: conv, residual block, pool, fully connected."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray[Any, Any]:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return model_of(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "stem", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["r1"], "stem_relu"),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], "block_conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c2"], ["r2"], "block_relu"),
            helper.make_node("Add", ["r2", "r1"], ["a1"], "block_add"),
            helper.make_node(
                "MaxPool", ["a1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]
            ),
            helper.make_node("GlobalAveragePool", ["p1"], ["g1"], "average"),
            helper.make_node("Flatten", ["g1"], ["f1"], "flatten"),
            helper.make_node("Gemm", ["f1", "w3", "b3"], ["logits"], "classifier", transB=1),
            helper.make_node("Softmax", ["logits"], ["y"], "softmax"),
        ],
        {"x": [1, 3, size, size]},
        ["y"],
        {
            "w1": weight(8, 3, 3, 3), "b1": weight(8, 1)[:, 0], "w2": weight(8, 8, 3, 3),
            "w3": weight(10, 8) * 4, "b3": weight(10, 1)[:, 0],
        },
    )  # fmt: skip


def compile_routed(small: Path, output: Path, **options: Any) -> Bundle:
    """Compile the small network with the routes `stem_relu` and `block_add`, plain and `:8bit`."""
    rng = np.random.default_rng(1)
    batches = [{"x": rng.standard_normal((1, 3, 12, 12)).astype(np.float32)} for _ in range(4)]
    given: dict[str, Any] = {
        "cuts": ["stem_relu", "block_add"],
        "bits": [8],
        "head": "host",
        **options,
    }
    return splitc.compile(small, batches=batches, output=output, **given)


def two_headed_network(seed: int = 0) -> ModelProto:
    """Two inputs, two results, one of them made early; a boundary of two tensors."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((4, 4)).astype(np.float32)
    return model_of(
        [
            helper.make_node("MatMul", ["a", "w"], ["m"], "left"),
            helper.make_node("Relu", ["m"], ["early"], "early"),
            helper.make_node("Add", ["early", "b"], ["s"], "join"),
            helper.make_node("Tanh", ["s"], ["t"], "tanh"),
            helper.make_node("Mul", ["t", "s"], ["late"], "late"),
        ],
        {"a": [2, 4], "b": [2, 4]},
        ["early", "late"],
        {"w": w},
    )


def save(proto: ModelProto, path: Path) -> Path:
    """Write a model and give its path."""
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path
