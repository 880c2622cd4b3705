# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""The same network through PyTorch and through ONNX: the same blocks, cuts and bytes."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")

import splitc  # noqa: E402
from splitc.frontend.onnx.model import OnnxModel  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.graph import LayerGraph  # noqa: E402
from splitc_passes.analyses.group_blocks import Rule, cut_points  # noqa: E402
from tests.frontend.splitting import assert_close, single  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


def through_onnx(name: str) -> OnnxModel:
    """The network as torch's own exporter writes it, read by the ONNX front end."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            program: Any = torch.onnx.export(
                build(name), (example(),), dynamo=True, opset_version=20, verbose=False
            )
        finally:
            logging.disable(logging.NOTSET)
    proto: onnx.ModelProto = program.model_proto
    return splitc.load(proto)


def through_torch(name: str) -> TorchModel:
    return splitc.load(build(name), example())


def cuts_of(graph: LayerGraph) -> list[tuple[str, tuple[int | None, ...] | None, int | None]]:
    """What crosses at each single-tensor cut, in order: element type, shape and bytes."""
    return [
        (cut.boundary[0].dtype, cut.boundary[0].shape, cut.boundary_bytes)
        for cut in single(graph)
        if len(cut.boundary) == 1
    ]


def block_bytes(graph: LayerGraph, rule: Rule) -> list[int | None]:
    """Bytes that cross behind each block."""
    return [graph.layer(name).outputs[0].nbytes for name in cut_points(graph, rule)]


@pytest.mark.parametrize("name", NETS)
def test_both_doors_give_the_same_blocks_cuts_bytes_and_flops(name: str) -> None:
    left, right = through_torch(name), through_onnx(name)
    assert cuts_of(left.graph) == cuts_of(right.graph)
    assert block_bytes(left.graph, "exact") == block_bytes(right.graph, "exact")
    assert block_bytes(left.graph, "paper") == block_bytes(right.graph, "paper")
    flops = [sum(layer.flops for layer in m.graph.layers) for m in (left, right)]
    # Attention scales its scores before or after its product: the exporter moves that.
    assert flops[0] == pytest.approx(flops[1], rel=0.02 if name == "vit" else 0)
    # ONNX stores the constants of shapes and slices too.
    stored = [sum(layer.param_bytes for layer in m.graph.layers) for m in (left, right)]
    assert stored[0] == pytest.approx(stored[1], rel=0.05)
    feed = {left.graph.inputs[0].name: np.asarray(example())}
    other = {right.graph.inputs[0].name: np.asarray(example())}
    made, expected = left.run(feed), right.run(other)
    assert_close(dict(enumerate(made.values())), dict(enumerate(expected.values())), 1e-4)  # type: ignore[arg-type]
