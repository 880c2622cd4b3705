# SPDX-License-Identifier: Apache-2.0
"""Nine classic networks without a download, for demos, tests and benchmarks.

The topologies ship in the onnx wheel (`light_*.onnx`) with constant weights,
which make every comparison of numbers empty. Here they get seeded weights after
He, and the last weighted layer is scaled so that the logits spread about 1:
unscaled, the softmax saturates, which makes comparisons empty again. What a normalisation
adds to a sum is halved, as training keeps it small: else each block of a residual network
doubles the variance, and float16 holds no number behind the last of them.

    python -m splitc.zoo resnet50 resnet50.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from splitc.errors import SplitcError, UsageError, nearest

NAMES: dict[str, str] = {
    "alexnet": "light_bvlc_alexnet",
    "densenet121": "light_densenet121",
    "inception_v1": "light_inception_v1",
    "inception_v2": "light_inception_v2",
    "resnet50": "light_resnet50",
    "shufflenet": "light_shufflenet",
    "squeezenet": "light_squeezenet",
    "vgg19": "light_vgg19",
    "zfnet512": "light_zfnet512",
}
_WEIGHTED = ("Conv", "Gemm", "MatMul")
_SUMS = ("Add", "Sum")
_VIEWS = ("Reshape", "Unsqueeze")


def build(name: str, *, seed: int = 0) -> ModelProto:
    """One of the nine networks with seeded weights.

    Args:
        name: A key of `NAMES`.
        seed: Of numpy's PCG64; the same seed gives the same weights everywhere.

    Returns:
        An ONNX model: one float32 input, one result over 1000 classes.

    Raises:
        UsageError: There is no such network.
    """
    if name not in NAMES:
        raise UsageError(f"there is no network '{name}'", hint=nearest(name, NAMES))
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    proto = ModelProto.FromString((folder / f"{NAMES[name]}.onnx").read_bytes())
    proto.ir_version = 8
    rng = np.random.Generator(np.random.PCG64(seed))
    _give_weights(proto.graph, rng)
    _halve_summands(proto.graph)
    _scale_logits(proto, rng)
    return proto


def _give_weights(graph: GraphProto, rng: np.random.Generator) -> None:
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    shapes: dict[str, tuple[int, ...]] = {}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(int(d) for d in stored[node.input[0]])
    role = _roles(nodes)
    made = {name: _weight(role[name], shape, rng) for name, shape in shapes.items() if name in role}
    kept = {name: value for name, value in stored.items() if name in role and name not in made}
    inputs = [v for v in graph.input if v.name not in stored]
    for repeated in (graph.node, graph.initializer, graph.input):
        del repeated[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.initializer.extend(
        numpy_helper.from_array(value, key) for key, value in {**kept, **made}.items()
    )


def _roles(nodes: list[NodeProto]) -> dict[str, tuple[str, int]]:
    """Which operand of which operator each tensor is, seen through reshapes of weights."""
    role: dict[str, tuple[str, int]] = {}
    for node in reversed(nodes):
        for k, name in enumerate(node.input):
            through = node.op_type in _VIEWS and k == 0 and node.output[0] in role
            role[name] = role[node.output[0]] if through else (node.op_type, k)
    return role


def _weight(
    role: tuple[str, int], shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """He-normal for kernels, small normal biases, scales and variances around 1."""
    op, place = role
    noise = rng.standard_normal(shape, dtype=np.float32)
    if op in _WEIGHTED and place == 1:
        fan_in = np.prod(shape[1:]) if len(shape) < 4 or shape[0] > 1 else shape[-1]
        return noise * np.float32(np.sqrt(2.0 / max(fan_in, 1)))
    if (op == "BatchNormalization" and place in (1, 4)) or op == "Mul":
        return np.exp(np.float32(0.2) * noise)
    return noise * np.float32(0.1)


def _halve_summands(graph: GraphProto) -> None:
    """Halve scale and shift of each normalisation whose result is added to another tensor."""
    makers = {node.output[0]: node for node in graph.node}
    added = [name for node in graph.node if node.op_type in _SUMS for name in node.input]
    halved = {
        name
        for summand in added
        if summand in makers and makers[summand].op_type == "BatchNormalization"
        for name in makers[summand].input[1:3]
    }
    for tensor in graph.initializer:
        if tensor.name in halved:
            value = numpy_helper.to_array(tensor) * np.float32(0.5)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _scale_logits(proto: ModelProto, rng: np.random.Generator) -> None:
    """Scale the last kernel and its bias so that the softmax's input, or the result, spreads 1."""
    from splitc.runtime.ort import Session

    graph = proto.graph
    softmax = [node.input[0] for node in graph.node if node.op_type == "Softmax"]
    logits_name = softmax[-1] if softmax else graph.output[0].name
    last = next(node for node in reversed(graph.node) if node.op_type in _WEIGHTED)
    probe = ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.output[:]
    probe.graph.output.append(onnx.ValueInfoProto(name=logits_name))
    entry = graph.input[0]
    shape = [d.dim_value for d in entry.type.tensor_type.shape.dim]
    sample = rng.standard_normal(shape, dtype=np.float32)
    logits = Session(probe.SerializeToString()).run([logits_name], {entry.name: sample})[0]
    spread = float(np.std(logits))
    through = {node.output[0]: node.input[0] for node in graph.node if node.op_type in _VIEWS}
    scaled = {through.get(name, name) for name in last.input[1:]}
    for tensor in graph.initializer:
        if tensor.name in scaled:
            value = numpy_helper.to_array(tensor) / np.float32(spread)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def main() -> None:
    """`python -m splitc.zoo NAME FILE [SEED]`."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python -m splitc.zoo NAME FILE [SEED]\n" + "  ".join(NAMES))
    try:
        proto = build(sys.argv[1], seed=int(sys.argv[3]) if len(sys.argv) == 4 else 0)
    except SplitcError as error:
        raise SystemExit(str(error)) from error
    Path(sys.argv[2]).write_bytes(proto.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
