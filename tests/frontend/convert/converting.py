# SPDX-License-Identifier: Apache-2.0
"""What the tests of converting ONNX to PyTorch share: small models, and holding them to ORT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper

import splitc
from splitc.bundle.golden import seeded_inputs
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.torch.model import TorchModel
from splitc.ir.graph import LayerGraph
from tests.frontend.splitting import Array, assert_close, single
from tests.helpers import model_of


def one_node(
    op: str,
    inputs: Mapping[str, Sequence[int]],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 20,
    order: Sequence[str] = (),
    results: Sequence[str] = ("y",),
    **attributes: Any,
) -> ModelProto:
    """A model of one node that reads its inputs, then its constants, or in another order."""
    stored = {name: np.asarray(value) for name, value in (constants or {}).items()}
    names = [*order] or [*inputs, *stored]
    node = helper.make_node(op, names, [*results], "node", **attributes)
    return model_of([node], dict(inputs), [*results], stored, opset=opset)


def weights(rng: np.random.Generator, *shape: int) -> Array:
    """Weights that keep values about as large as they were."""
    scale = np.sqrt(max(int(np.prod(shape[1:])), 1))
    return (rng.standard_normal(shape) / scale).astype(np.float32)


def error_of(got: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The largest difference, relative to the largest magnitude of its result."""
    worst = 0.0
    for name, value in expected.items():
        if value.size and value.dtype.kind == "f":
            scale = max(float(np.abs(value).max()), 1e-30)
            worst = max(worst, float(np.abs(got[name] - value).max()) / scale)
    return worst


def assert_converts(
    proto: ModelProto, tolerance: float = 1e-5, *, feed: Mapping[str, Array] | None = None
) -> tuple[OnnxModel, TorchModel]:
    """The converted model computes what onnxruntime does, and its results keep their names."""
    model = splitc.load(proto, simplify=False)
    made = splitc.to_torch(model)
    given = dict(feed or seeded_inputs(model.graph.inputs, 1))
    expected = model.run(given)
    assert [*made.graph.outputs] == [*model.graph.outputs]
    assert_close(made.run(given), expected, tolerance)
    return model, made


def cuts_of(graph: LayerGraph) -> list[tuple[str, str, tuple[int | None, ...] | None, int | None]]:
    """What crosses at each single-tensor cut, in order: name, type, shape and bytes."""
    return [
        (cut.boundary[0].name, cut.boundary[0].dtype, cut.boundary[0].shape, cut.boundary_bytes)
        for cut in single(graph)
        if len(cut.boundary) == 1
    ]
