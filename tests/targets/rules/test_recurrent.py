# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Recurrent layers give what onnxruntime gives, in all their forms, by one kernel a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import splitc
from splitc.arrays import Array
from splitc.errors import UnsupportedOpError
from splitc.frontend.onnx.model import OnnxModel
from splitc_targets.source.check import unsupported
from tests.targets.kernels.alone import BOARDS
from tests.targets.nets import assert_same, compiled, computed, wanted

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OPTIONAL = ("b", "lengths", "h", "c", "p")


def layer(
    op: str, *, steps: int = 5, batch: int = 3, width: int = 4, hidden: int = 5,
    given: tuple[str, ...] = ("b",), lengths: tuple[int, ...] = (), results: int = 7,
    opset: int = 14, dtype: str = "float32", handed: tuple[str, ...] = ("h", "c", "lengths"),
    **attributes: Any,
) -> tuple[ModelProto, dict[str, Array]]:  # fmt: skip
    """A recurrent layer with some of its optional inputs, and what it is given.

    `handed` are given at run time beside x, others stored; `results` has a bit for each output.
    """
    rng = np.random.default_rng(3)
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    rows, first = GATES[op] * hidden, bool(attributes.get("layout", 0))
    states = (batch, ways, hidden) if first else (ways, batch, hidden)
    shapes = {
        "x": (batch, steps, width) if first else (steps, batch, width),
        "w": (ways, rows, width), "r": (ways, rows, hidden), "b": (ways, 2 * rows),
        "h": states, "c": states, "p": (ways, 3 * hidden),
    }  # fmt: skip
    given = (*given, "lengths") if lengths else given
    arrays: dict[str, Array] = {
        name: (rng.standard_normal(shape) / 2).astype(dtype) for name, shape in shapes.items()
    }
    arrays["lengths"] = np.array(lengths, np.int32)
    names = ["x", "w", "r", *(n if n in given else "" for n in OPTIONAL)]
    names = names[: len(names) if op == "LSTM" else 6]
    outs = [n if results >> k & 1 else "" for k, n in enumerate(("y", "yh", "yc"))]
    outs = outs[: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, names, outs, "layer", hidden_size=hidden, **attributes)
    used = [n for n in names if n]
    feed = {n: arrays[n] for n in used if n == "x" or n in handed}
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for n, a in feed.items()],
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
         for n in outs if n],
        [numpy_helper.from_array(arrays[n], n) for n in used if n not in feed],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made), feed


def by_kernels(proto: ModelProto, feed: dict[str, Array], board: str = "host") -> list[Array]:
    """The results of a model that needs none of TVM's loops."""
    code = compiled(proto, board)
    assert not code.fallbacks
    assert any(kernel.rule == "recurrent" for kernel in code.kernels)
    return computed(code, proto, feed)


def form_of(op: str, **rest: Any) -> dict[str, Any]:
    """What `layer` is asked for."""
    return {"op": op, **rest}


BOTH, BACK = "bidirectional", "reverse"
FORMS: dict[str, dict[str, Any]] = {
    "lstm": form_of("LSTM"),
    "lstm of one step": form_of("LSTM", steps=1, batch=1, hidden=16, given=("b", "h", "c")),
    "lstm, all it may be given": form_of(
        "LSTM", given=("b", "h", "c", "p"), direction=BOTH, lengths=(3, 0, 5), clip=0.4),
    "lstm, more sequences than registers": form_of("LSTM", batch=11, hidden=37, direction=BACK),
    "lstm that forgets what it takes": form_of("LSTM", input_forget=1, given=()),
    "lstm, other functions": form_of(
        "LSTM", activations=["HardSigmoid", "Softsign", "Softplus"], activation_alpha=[0.3],
        activation_beta=[0.4]),
    "lstm, other functions both ways": form_of(
        "LSTM", direction=BOTH, activation_alpha=[0.5, 0.1, 0.2, 0.7, 0.6],
        activation_beta=[0.1, 0.3], given=("b", "h"),
        activations=["Affine", "LeakyRelu", "ThresholdedRelu", "Sigmoid", "ScaledTanh", "Elu"]),
    "lstm, weights at run time": form_of(
        "LSTM", hidden=19, given=("b", "p"), handed=("w", "r", "b", "p")),
    "lstm, the last state alone": form_of("LSTM", results=2),
    "lstm, the last cell alone": form_of("LSTM", results=4, opset=7),
    "gru": form_of("GRU", given=("b", "h"), hidden=33),
    "gru both ways": form_of("GRU", direction=BOTH, lengths=(1, 5, 2), opset=7),
    "gru that resets behind": form_of(
        "GRU", linear_before_reset=1, direction=BOTH, lengths=(0, 4, 5), given=("b", "h")),
    "gru that resets behind, no bias": form_of("GRU", linear_before_reset=1, given=(), clip=0.3),
    "gru, weights at run time": form_of(
        "GRU", hidden=18, linear_before_reset=1, handed=("w", "r", "b")),
    "rnn": form_of("RNN", direction=BOTH, given=("b", "h"), opset=22),
    "rnn, relu": form_of("RNN", activations=["Relu"], direction=BACK, lengths=(3, 0, 5)),
    "rnn, all states alone": form_of("RNN", results=1, clip=0.2),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_computed(form: str) -> None:
    proto, feed = layer(**FORMS[form])
    assert_same(by_kernels(proto, feed), wanted(proto, feed))


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("hidden", [1, 24, 67])
def test_states_of_any_width_fill_vectors_of_any_width(board: str, hidden: int) -> None:
    proto, feed = layer("LSTM", hidden=hidden, given=("b", "h", "c"), direction=BOTH)
    assert_same(by_kernels(proto, feed, board), wanted(proto, feed))
    proto, feed = layer("GRU", hidden=hidden, given=("b", "h"))
    assert_same(by_kernels(proto, feed, board), wanted(proto, feed))


def test_cores_share_a_step() -> None:
    proto, feed = layer("LSTM", hidden=200, width=8, batch=2, steps=7)
    assert_same(by_kernels(proto, feed), wanted(proto, feed))


@pytest.mark.parametrize("op", GATES)
def test_sequences_may_come_first(op: str) -> None:
    """onnxruntime has no such layout: the same layer with its tensors turned around."""
    proto, feed = layer(op, layout=1, direction=BOTH, given=("b", "h"))
    (other, _) = layer(op, direction=BOTH, given=("b", "h"))
    turned = {name: array.swapaxes(0, 1) for name, array in feed.items()}
    y, *states = wanted(other, turned)
    want = [y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states)]
    assert_same(by_kernels(proto, feed), want)


def test_halves_are_computed_in_floats() -> None:
    proto, feed = layer("LSTM", dtype="float16", given=("b", "h", "c"))
    single, _ = layer("LSTM", given=("b", "h", "c"))
    want = wanted(single, {name: array.astype(np.float32) for name, array in feed.items()})
    assert_same(by_kernels(proto, feed), [array.astype(np.float16) for array in want])


def test_not_a_number_and_infinity_stay_in_their_sequence() -> None:
    proto, feed = layer("LSTM", batch=3)
    feed["x"][2, 0, 1], feed["x"][1, 1, 0] = np.nan, np.inf
    got = by_kernels(proto, feed)
    want: list[Any] = list(ReferenceEvaluator(proto).run(None, feed))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, equal_nan=True)


def test_lengths_beyond_the_sequence_read_nothing_beyond() -> None:
    proto, feed = layer("GRU", lengths=(5, 0, 5))
    want = by_kernels(proto, feed)
    assert_same(by_kernels(proto, feed | {"lengths": np.array([2**30, -7, 6], np.int32)}), want)


@pytest.mark.parametrize(("place", "shape"), [(1, (1, 40, 5)), (0, (1, 16, 4)), (2, (1, 30))])
def test_weights_that_do_not_belong_together_are_refused_by_name(
    place: int, shape: tuple[int, ...]
) -> None:
    proto, _ = layer("LSTM")
    strange = numpy_helper.from_array(np.zeros(shape, np.float32), "wrb"[place])
    proto.graph.initializer[place].CopyFrom(strange)
    model = splitc.load(proto)
    assert isinstance(model, OnnxModel)
    (found,) = unsupported(model)
    assert found.layer == "layer"
    assert "sizes of its gates" in found.why


def test_an_activation_that_onnx_does_not_name_is_refused_with_its_layer() -> None:
    proto, _ = layer("LSTM")
    (node,) = proto.graph.node
    node.attribute.append(helper.make_attribute("activations", ["Sigmoid", "Tanh", "Sine"]))
    del proto.graph.output[1:]
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(UnsupportedOpError, match="layer"):
        splitc.compile(splitc.load(proto), head="host", tail="host", cut="device")
