# SPDX-License-Identifier: Apache-2.0
"""The pass `insert-dropout`: text before and after, outputs, refusals."""

from __future__ import annotations

import pytest

import splitc
from splitc.errors import IllegalCutError, SplitcError, UnsupportedOpError, UsageError
from splitc.ir.chain import channel_layers
from splitc_passes.training.insert_dropout import InsertDropout
from tests.helpers import assert_rewrites, small_network


def test_every_consumer_of_the_cut_reads_the_dropped_copy() -> None:
    before = """
    %x = input() : 1x3x8x8
    %t = conv(%x) : 1x16x8x8
    %a = relu(%t) : 1x16x8x8
    %y = add(%t, %a) : 1x16x8x8
    """
    after = """
    %x = input() : 1x3x8x8
    %t = conv(%x) : 1x16x8x8
    %t.link_dropout = link_dropout(%t) : 1x16x8x8
    %a = relu(%t.link_dropout) : 1x16x8x8
    %y = add(%t.link_dropout, %a) : 1x16x8x8
    """
    assert_rewrites(InsertDropout(cut="t"), before, after)


def test_the_model_is_cut_before_the_dropout() -> None:
    text = "%x = input() : 1x4\n%t = relu(%x) : 1x4\n%y = relu(%t) : 1x4\n"
    cut = InsertDropout(cut="t")(splitc.GraphModel(splitc.parse_graph(text))).cut
    assert cut is not None
    assert (cut.name, [t.name for t in cut.boundary]) == ("t", ["t"])


def test_a_modules_name_is_its_last_layer() -> None:
    text = "%x = input() : 4\n%m.a = relu(%x) : 4\n%m.b = relu(%m.a) : 4\n%y = relu(%m.b) : 4\n"
    model = InsertDropout(cut="m")(splitc.GraphModel(splitc.parse_graph(text)))
    assert channel_layers(model.graph) == ("m.b.link_dropout",)


def test_it_takes_the_models_own_cut_and_survives_its_text() -> None:
    text = "%x = input() : 1x4\n%t = relu(%x) : 1x4\n%y = relu(%t) : 1x4\n"
    model = splitc.GraphModel(splitc.parse_graph(text))
    model = model.with_cut(splitc.Cut.after(model.graph, ["t"]))
    pipeline = splitc.Pipeline.parse("insert-dropout(loss_rate=0.4)")
    assert str(pipeline) == "insert-dropout(loss_rate=0.4)"
    assert channel_layers(pipeline(model).graph) == ("t.link_dropout",)


BRANCHES = """
%x = input() : 1x4
%a = relu(%x) : 1x4
%b = relu(%x) : 1x4
%i = argmax(%b) : 1x1 int64
%s, %r = split(%a) : 1x2, 1x2
%y = add(%b, %s) : 1x4
%z = gather(%i, %r) : 1x4
%u = mul(%y, %z) : 1x4
"""
REFUSED: dict[str, tuple[InsertDropout, type[SplitcError], str]] = {
    "nothing reads it": (
        InsertDropout(cut="u"), IllegalCutError,
        "why: no layer reads its output.*\n.*cut after one of its inputs: y, z",
    ),
    "an edge goes round it": (InsertDropout(cut="a"), IllegalCutError, "goes round it: 'x'"),
    "no such layer": (InsertDropout(cut="conv"), IllegalCutError, "there is no layer 'conv'"),
    "several tensors": (InsertDropout(cut="s"), IllegalCutError, "an edge goes round it"),
    "no cut": (InsertDropout(), IllegalCutError, "the model has no cut"),
    "rate 1": (InsertDropout(cut="a", loss_rate=1.0), UsageError, r"1 is not in \[0, 1\)"),
    "rate below 0": (InsertDropout(cut="a", loss_rate=-0.1), UsageError, r"not in \[0, 1\)"),
    "rate NaN": (InsertDropout(cut="a", loss_rate=float("nan")), UsageError, r"not in \[0, 1\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case: str) -> None:
    one, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        one(splitc.GraphModel(splitc.parse_graph(BRANCHES)))


def test_an_integer_boundary_is_refused() -> None:
    text = "%x = input() : 1x4\n%i = argmax(%x) : 1x1 int64\n%y = onehot(%i) : 1x4\n"
    with pytest.raises(IllegalCutError, match="'i' is int64: only floating-point"):
        InsertDropout(cut="i")(splitc.GraphModel(splitc.parse_graph(text)))


def test_an_onnx_graph_takes_no_training_layer() -> None:
    with pytest.raises(UnsupportedOpError, match="to_torch"):
        InsertDropout(cut="pool")(splitc.load(small_network()))
