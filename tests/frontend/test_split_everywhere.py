# SPDX-License-Identifier: Apache-2.0
"""At every legal cut of every network, tail after head computes what the whole computes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

import splitc
from splitc import zoo
from splitc.bundle.golden import seeded_inputs
from splitc.errors import BadModelError
from splitc.frontend.onnx.model import OnnxModel
from splitc.runtime.ort import Session
from tests.frontend.splitting import (
    Array,
    assert_close,
    assert_split_equals,
    run_plain,
    several,
    single,
)
from tests.helpers import SHARED, save

ONNX = SHARED / "onnx"
FILES = sorted(p.relative_to(ONNX).as_posix() for p in ONNX.rglob("*.onnx"))

# Some networks are up to 575 MB and 40 GFLOP. With an eighth of the channels the
# layers and their edges are the same, and every cut can be tried in seconds.
LARGE = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "vgg19",
         "zfnet512")  # fmt: skip


def slimmed(proto: ModelProto, file: str) -> ModelProto:
    """A large topology, most weights still made by ConstantOfShape, with fewer channels."""
    if file.removeprefix("light_") not in LARGE:
        return proto
    for tensor in proto.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.INT64:  # shapes of weights, and what Reshape makes
            value = np.where((value >= 16) & (value != 1000), value // 8, value)
        elif value.size >= 16:  # the few small weights are stored
            value = value[: value.size // 8]
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return proto


def build(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelProto:
    """A zoo network with seeded weights, from its topology with fewer channels."""
    file = zoo.NAMES[name]
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    full = ModelProto.FromString((light / f"{file}.onnx").read_bytes())
    save(slimmed(full, file), folder / f"{file}.onnx")
    monkeypatch.setitem(zoo.NAMES, name, str(folder / file))
    proto = zoo.build(name)
    assert sum(t.ByteSize() for t in proto.graph.initializer) < 12e6
    return proto


@pytest.mark.parametrize("simplify", [False, True], ids=["as_is", "simplified"])
@pytest.mark.parametrize("name", zoo.NAMES)
def test_a_zoo_network_split_at_any_cut_computes_the_same(
    name: str, simplify: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = build(name, tmp_path, monkeypatch)
    model = splitc.load(proto, simplify=simplify)
    assert model.note == ""
    feed = seeded_inputs(model.graph.inputs, 1)
    whole = run_plain(model.proto, feed)
    result = model.graph.outputs[0]
    assert np.std(whole[result]) > 0
    cuts = single(model.graph)
    assert len(cuts) > 20
    assert_split_equals(model, cuts, feed, whole)
    assert_split_equals(model, several(model, 5), feed, whole)
    assert_close(whole, run_plain(proto, feed), 1e-4 if simplify else 1e-6)


@pytest.mark.parametrize("name", ["inception_v2", "resnet50", "shufflenet"])
def test_the_parts_compute_the_same_with_onnxruntimes_own_fusions(name: str) -> None:
    model = splitc.load(zoo.build(name))
    feed = seeded_inputs(model.graph.inputs, 2)
    whole = model.run(feed)
    cuts = [*single(model.graph)[::13], *several(model, 1)]
    for cut in cuts:
        head, tail = model.split(cut)
        sent = head.run(feed)
        assert_close(tail.run({**feed, **sent}), whole, 1e-5)


# What onnxruntime runs and splitc refuses, and why it should.
REFUSED: dict[str, str] = {
    # an operator of opset 10 in a model of opset 7
    "ngraph_ops/thresholded_relu.onnx": "the model is malformed\n.*No Op registered",
    # a result of two axes that is declared with one
    "ngraph_ops/scatter_elements_opset11.onnx": "the model is malformed\n.*\n.*it declares float32",
    "ngraph_ops/scatter_opset10.onnx": "the model is malformed\n.*\n.*it declares float32",
    # a negative axis, which opset 7 does not define: the shapes contradict each other
    "ngraph_ops/unsqueeze_negative_axes.onnx": "the model is malformed\n.*\n.*it declares float32",
    # before opset 5 reductions keep their axes, and these declare that they do not
    **{
        f"ngraph_ops/reduce_{name}.onnx": "the model is malformed\n.*\n.*it declares float32"
        for name in (
            "l1",
            "l2",
            "log_sum",
            "log_sum_exp",
            "max",
            "mean",
            "min",
            "prod",
            "sum",
            "sum_square",
        )
    },
    "ngraph_ops/space_to_depth_bad_blocksize.onnx": "the model is malformed\n.*\n.*it declares",
    # a truth value by an operator of opset 1 that gives none
    "ngraph_ops/bool_const_op.onnx": "the model is malformed\n.*\n.*unsupported type",
    "ngraph_ops/bool_init_raw.onnx": "no layer computes anything from an input",
    # a result without a shape, which onnx's converter asks for
    "ngraph_ops/flatten.onnx": "opset 2 is not supported here\n.*'shape' of 'type' is required",
    # results that no input changes
    **{
        f"ngraph_ops/{name}.onnx": "no layer computes anything from an input"
        for name in (
            "non_zero_1d",
            "non_zero_1d_float",
            "non_zero_2d_bool",
            "non_zero_3d",
            "non_zero_scalar",
            "shape",
        )
    },
}
# Results whose extents hang on the data, or are others than the file declares: loaded as they
# are declared, and refused where running gives another.
OTHERWISE = frozenset(
    (
        "ngraph_ops/concat_negative_axis.onnx",
        "ngraph_ops/dynamic_shapes__constant_of_shape_float_zeros.onnx",
        "ngraph_ops/dynamic_shapes__constant_of_shape_int_ones.onnx",
        "ngraph_ops/provenance_downgrade_topk.onnx",
        "ngraph_ops/provenance_multiple_outputs_op.onnx",
        "ngraph_ops/top_k_opset_10.onnx",
        "onnx_conformance/test_loop11/model.onnx",
    )
)
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "ngraph_ops/convtranspose_dyn_data.onnx": {"Data": (1, 2, 5, 5)},
    "ngraph_ops/convtranspose_dyn_filters.onnx": {"Filters": (2, 2, 3, 3)},
    "ngraph_ops/dynamic_shapes__a_plus_b_dyn_rank.onnx": {"A": (2, 3)},
    "ngraph_ops/dynamic_shapes__flatten_dyn_shape_axis.onnx": {"A": (2, 3, 4, 5, 6)},
    "ngraph_ops/dynamic_shapes__flatten_dyn_shape_axis0.onnx": {"A": (2, 3, 4)},
    "ngraph_ops/dynamic_shapes__flatten_dyn_shape_neg_axis.onnx": {"A": (2, 3, 4, 5)},
    "ngraph_ops/dynamic_shapes__transpose.onnx": {"A": (2, 3, 4)},
    "speech_silero/silero_vad_16k_op15.onnx": {"input": (1, 576), "state": (2, 1, 128)},
}


def test_the_shared_files_are_here() -> None:
    if not FILES:
        pytest.skip("shared data is not here: onnx")
    assert len(FILES) > 200


def read_file(file: str) -> ModelProto:
    path = ONNX / file
    return slimmed(ModelProto.FromString(path.read_bytes()), path.stem)


def load_like_onnxruntime(proto: ModelProto, file: str, *, simplify: bool) -> OnnxModel:
    """Load with every extent that is open fixed to 2; skip where a refusal is right."""
    stored = {t.name for t in proto.graph.initializer}
    fixed: dict[str, tuple[int, ...]] = {}
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in stored and any(d.dim_value <= 0 for d in dims):
            fixed[value.name] = tuple(d.dim_value if d.dim_value > 0 else 2 for d in dims)
    expected = REFUSED.get(file)
    if expected is None:
        return splitc.load(proto, inputs=SHAPES.get(file, fixed), simplify=simplify)
    with pytest.raises(BadModelError, match=expected):
        splitc.load(proto, inputs=fixed, simplify=simplify)
    pytest.skip(f"refused, as it should: {expected}")


def run_source(proto: ModelProto, model: OnnxModel) -> tuple[Mapping[str, Array], dict[str, Array]]:
    """Inputs onnxruntime accepts for the source model, and what it makes of them."""
    session = Session(proto.SerializeToString())
    names = [value.name for value in proto.graph.output]
    random = seeded_inputs(model.graph.inputs, 1)
    ones: dict[str, Any] = {name: np.ones_like(value) for name, value in random.items()}
    try:
        return random, dict(zip(names, session.run(names, random), strict=True))
    except BadModelError:  # say, division by a zero that was drawn
        return ones, dict(zip(names, session.run(names, ones), strict=True))


@pytest.mark.parametrize("file", FILES)
def test_a_file_split_at_any_cut_computes_the_same(file: str) -> None:
    proto = read_file(file)
    try:
        Session(proto.SerializeToString())
    except BadModelError as error:
        pytest.skip(f"onnxruntime refuses it: {error.why[:120]}")
    model = load_like_onnxruntime(proto, file, simplify=False)
    try:
        feed, source = run_source(proto, model)
    except BadModelError as error:
        pytest.skip(f"onnxruntime cannot run it: {error.why[:120]}")
    if file in OTHERWISE:
        with pytest.raises(BadModelError, match="has another shape than was found"):
            model.run(feed)
        return
    assert_close(model.run(feed), source, 1e-5)
    models = [model]
    if len(model.graph) - model.graph.input_count > 1:  # one layer cannot be split either way
        models.append(load_like_onnxruntime(proto, file, simplify=True))
        assert_close(models[1].run(feed), source, 1e-4)
    if any(node.op_type.startswith("Random") for node in proto.graph.node):
        pytest.skip("its results are random")
    for one in models:
        whole = run_plain(one.proto, feed)
        assert_split_equals(one, single(one.graph), feed, whole)
        assert_split_equals(one, several(one, 3), feed, whole)


@pytest.mark.parametrize(
    ("file", "least"),
    [
        ("vit/pgd_2_3_16.onnx", 8),
        ("detection/version-RFB-320.onnx", 20),
        ("cifar10/cifar_base.onnx", 10),
        ("cifar10/resnet_3b2_bn_mixup_adv_4.0_bs128_lr-1.onnx", 5),
    ],
)
def test_a_trained_network_keeps_its_names_its_cuts_and_plain_operators_when_simplified(
    file: str, least: int
) -> None:
    if file not in FILES:
        pytest.skip(f"shared data is not here: {file}")
    proto = read_file(file)
    plain = load_like_onnxruntime(proto, file, simplify=False)
    simplified = load_like_onnxruntime(proto, file, simplify=True)
    assert simplified.note == ""
    given = {layer.name for layer in plain.graph.layers}
    new = [layer.name for layer in simplified.graph.layers if layer.name not in given]
    assert [name for name in new if not re.fullmatch(r"Mul_\d+", name)] == []
    assert {node.domain for node in simplified.proto.graph.node} <= {"", "ai.onnx"}
    assert all(t.nbytes is not None for t in plain.graph.tensors.values())
    assert all(t.nbytes is not None for t in simplified.graph.tensors.values())
    assert min(len(single(plain.graph)), len(single(simplified.graph))) >= least
