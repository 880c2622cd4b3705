# SPDX-License-Identifier: Apache-2.0
"""Converted operators against the node cases that ship with onnx."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

pytest.importorskip("torch", reason="needs torch")

import onnx.backend.test.case.node as node_cases

import splitc
from splitc.errors import BadModelError, SplitcError, UnsupportedOpError
from splitc.frontend.convert import converted_ops
from splitc.frontend.torch.model import TorchModel
from tests.frontend.splitting import assert_close

SLOW = ("averagepool", "maxpool", "lppool", "attention", "image_decoder")
"""Modules that take seconds to compute their cases; pooling is held to onnxruntime elsewhere."""

DISAGREED = (
    # onnx divides by the exact length of the result, onnxruntime by that of its elements
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
)

NONE = (
    "LayerNormalization",  # all cases read the means too
    "MeanVarianceNormalization",  # onnx's own checker refuses the case
    "Not",  # all cases are of opset 1
)

RIGHTLY = (
    "PyTorch does not compute with uint", "is computed", "depends on data", "drops at inference",
    "is read", "batch_dims=1", "reduction=m", "antialias=1", "aspect ratio", "tf_crop_and_resize",
    "zero-size dimension", "no converter", "PyTorch has no",
    "a cache of keys and values", "softcap, or softmax_precision", "looks at a window only",
    "mask is shorter than its keys",
)  # fmt: skip
"""Why a case may be refused."""


@pytest.fixture(scope="module")
def cases() -> Mapping[str, list[Any]]:
    """The cases of each operator; they are made when their modules are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in pkgutil.iter_modules(node_cases.__path__):
            if each.name not in SLOW:
                importlib.import_module(f"{node_cases.__name__}.{each.name}")
    found: dict[str, list[Any]] = {}
    made: list[Any] = vars(node_cases)["_NodeTestCases"]
    for case in made:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].domain == "" and _tensors(case):
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def _tensors(case: Any) -> bool:
    """Whether a case is of tensors of numbers that numpy has."""
    values: list[Any] = [value for values in case.data_sets[0] for value in values]
    return all(
        getattr(getattr(value, "dtype", None), "kind", "") in tuple("biuf") for value in values
    )


def convert(proto: ModelProto, values: Mapping[str, Any]) -> TorchModel:
    """The network with all operands computed, or all but the first stored where it must be."""
    try:
        return splitc.to_torch(splitc.load(proto, simplify=False))
    except SplitcError:
        fixed = ModelProto()
        fixed.CopyFrom(proto)
        fixed.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in [*values.items()][1:]
        )
        return splitc.to_torch(splitc.load(fixed, simplify=False))


@pytest.mark.parametrize("op", sorted(set(converted_ops()[""]) - {"AveragePool", "MaxPool"}))
def test_an_operator_computes_what_onnx_says(op: str, cases: Mapping[str, list[Any]]) -> None:
    good = 0
    for case in cases.get(op, []):
        if case.name in DISAGREED:
            continue
        inputs, outputs = case.data_sets[0]
        values = dict(zip((v.name for v in case.model.graph.input), inputs, strict=True))
        try:
            made = convert(case.model, values)
        except UnsupportedOpError as error:
            assert any(reason in error.why for reason in RIGHTLY), (case.name, error.why)
            continue
        except BadModelError:  # an opset that splitc does not read, text
            continue
        feed = {t.name: values[t.name] for t in made.graph.inputs}
        expected = dict(zip((v.name for v in case.model.graph.output), outputs, strict=True))
        wide = any(value.dtype == np.float16 for value in (*inputs, *outputs))
        assert_close(made.run(feed), expected, 5e-3 if wide else 1e-4)
        good += 1
    if op not in cases:
        pytest.skip("onnx has no case of it")
    assert good or op in NONE
