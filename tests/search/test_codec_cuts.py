# SPDX-License-Identifier: Apache-2.0
"""The cut search with a codec in place, and on models that carry a cut already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import pytest
from hypothesis import given, settings

import splitc
from splitc.build.compiler import choose
from splitc.cost.board import load_board
from splitc.cost.prices import OBJECTIVES, BoardCost, Costs, Objective
from splitc.errors import IllegalCutError, NoLegalCutError, UsageError
from splitc.ir.chain import Insertion, channel_layers
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import GraphModel, Model
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.passes.at_cut import recut, without_channels
from splitc.passes.base import Pass, Pipeline
from splitc.passes.crossing import crossing_tensor
from splitc.search.enumerate import single_cuts
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.table import CutTable
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck
from splitc_passes.training.insert_dropout import InsertDropout
from tests.strategies import graphs

M = TypeVar("M", bound=Model)

LINK = Link("20Mbit", rtt="5ms")
NETWORK = """
%x = input() : 1x3x224x224
%a = conv(%x) {params=7000, flops=40000000} : 1x16x112x112
%b = relu(%a) {flops=200704} : 1x16x112x112
%c = conv(%b) {params=90000, flops=30000000} : 1x64x28x28
%d = conv(%c) {params=90000, flops=30000000} : 1x64x28x28
%e = add(%c, %d) {flops=50176} : 1x64x28x28
%f = globalaveragepool(%e) : 1x64x1x1
%g = flatten(%f) : 1x64
%h = gemm(%g) {params=64000, flops=128000} : 1x1000
%i = argmax(%h) : 1x1 int64
%y = onehot(%i) : 1x1000
"""


@dataclass(frozen=True)
class Halve(Pass):
    """Send half of the numbers of what crosses: an encoder, and a decoder of other cost."""

    name: ClassVar[str] = "halve"

    cut: str = ""

    def apply(self, model: M) -> M:
        tensor = crossing_tensor(model, self.cut)
        size = (tensor.elements or 0) // 2
        if size < 20:
            raise IllegalCutError(f"cannot cut after '{tensor.name}'", why="it is small already")
        chain = (
            Insertion("encoder", "gemm", (1, size), flops=900_000, param_bytes=5_000),
            Insertion("noise", "awgn", (1, size)),
            Insertion("decoder", "gemm", tensor.static_shape, flops=40_000_000, param_bytes=800),
        )
        made = model.insert(tensor.name, chain)
        return made.with_cut(Cut.sending(made.graph, f"{tensor.name}.encoder"))


DEVICE, SERVER = (BoardCost(load_board(name), by="shares") for name in ("rpi4", "x86-64-v3"))
"""By shares, each layer's time is its own: what a codec adds can be told from what was there."""


def table_of(
    graph: LayerGraph | Model, codec: Pass | Pipeline | str | None, objective: Objective = "latency"
) -> CutTable:
    return find_cuts(graph, head=DEVICE, tail=SERVER, link=LINK, objective=objective, codec=codec)


def costs_of(graph: LayerGraph) -> Costs:
    return Costs(graph, DEVICE, SERVER, LINK)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_row_costs_what_the_rewritten_graph_costs_at_the_codecs_boundary(
    objective: Objective,
) -> None:
    graph = parse_graph(NETWORK)
    table = table_of(graph, Halve(), objective)
    assert [row.cut.name for row in table.usable] != []
    for row in table.usable:
        made = Halve(cut=row.cut.name)(GraphModel(graph))
        assert made.cut is not None
        assert row.cost == costs_of(made.graph).of(made.cut)
        assert row.boundary == made.cut.boundary
    values = [row.cost.value(objective) for row in table.usable]
    assert table.value(table.best) == min(values)


def test_encoder_is_paid_on_the_device_decoder_on_the_server_and_fewer_bytes_on_the_link() -> None:
    graph = parse_graph(NETWORK)
    plain = {row.cut.name: row for row in table_of(graph, None).rows}
    for row in table_of(graph, Halve()).usable:
        before, after = plain[row.cut.name].cost, row.cost
        made = Halve(cut=row.cut.name)(GraphModel(graph)).graph
        costs, sent = costs_of(made), row.cut.boundary[0].name
        encoder, decoder = (made.index[f"{sent}.{name}"] for name in ("encoder", "decoder"))
        assert after.head_s == pytest.approx(before.head_s + costs.device_s[encoder])
        assert after.tail_s == pytest.approx(before.tail_s + costs.server_s[decoder])
        assert after.boundary_bytes == before.boundary_bytes // 2
        assert after.head_param_bytes == before.head_param_bytes + 5_000
        assert after.link_s - before.link_s == pytest.approx(
            LINK.transfer_s(after.boundary_bytes) - LINK.transfer_s(before.boundary_bytes)
        )


def test_the_best_cut_with_a_codec_is_another_than_without() -> None:
    graph = parse_graph(NETWORK)
    plain, coded = table_of(graph, None).best, table_of(graph, "insert-bottleneck(channels=4)").best
    assert plain.cut.name not in ("a", "b")
    assert coded.cut.name == "c"
    assert [(t.shape, t.dtype) for t in coded.boundary] == [((1, 4, 14, 14), "uint8")]


def test_cuts_that_the_codec_refuses_say_why() -> None:
    table = table_of(parse_graph(NETWORK), "insert-bottleneck(channels=32)")
    assert {row.cut.name for row in table.usable} == {"c", "e", "f", "g", "h"}
    reasons = {row.cut.name: row.rejected for row in table.rows if row.rejected}
    assert reasons == {
        "a": "insert-bottleneck: channels 32 is not in 1 to 16",
        "b": "insert-bottleneck: channels 32 is not in 1 to 16",
        "i": "insert-bottleneck: 'i' is int64: only floating-point values can be changed",
    }
    row = table.row(Cut.after(table.costs.graph, ["d"]))
    assert row.rejected == "2 tensors cross, a codec takes one"
    with pytest.raises(IllegalCutError, match="with this codec"):
        choose(table, "i")


def test_passes_of_a_codec_stand_one_behind_the_other() -> None:
    codec = Pipeline.parse("insert-bottleneck(channels=4, bits=32), insert-dropout")
    row = choose(table_of(parse_graph(NETWORK), codec), "c")
    assert [(t.name, t.nbytes) for t in row.boundary] == [("c.code", 4 * 14 * 14 * 4)]


def test_limits_hold_for_the_head_with_the_encoder_inside() -> None:
    graph = parse_graph(NETWORK)
    head_s = {row.cut.name: row.cost.head_s for row in table_of(graph, None).rows}
    limits = Constraints(max_head_s=head_s["a"] + 1e-6)
    table = find_cuts(graph, head=DEVICE, tail=SERVER, link=LINK, constraints=limits, codec=Halve())
    assert table.usable == ()
    with pytest.raises(NoLegalCutError, match="no cut takes the codec") as caught:
        _ = table.best
    assert "another codec" in caught.value.hint


@pytest.mark.parametrize(
    ("codec", "match"),
    [
        ("", "the codec has no passes"),
        ("group-blocks", "'group-blocks' is no codec"),
        ('insert-dropout(cut="c")', "leave it out, and cut there: --cut c"),
        ("insert-drop", "there is no 'insert-drop' among the passes"),
        ("insert-dropout(loss_rate=2)", r"insert-dropout: loss_rate 2 is not in \[0, 1\)"),
    ],
)
def test_a_codec_that_is_none_is_refused(codec: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        table_of(parse_graph(NETWORK), codec)


def test_in_a_graph_of_very_many_cuts_the_codec_is_tried_at_the_likeliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = parse_graph(NETWORK)
    monkeypatch.setattr("splitc.search.find.REWRITTEN", 2 * len(graph))
    table = table_of(graph, "insert-dropout", "energy")
    assert not table.exhaustive
    assert {row.cut.name for row in table.rows} == {"a", "b"}
    assert table_of(graph, None).row(Cut.after(graph, ["h"])).rejected is None


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_a_codec_that_leaves_the_bytes_alone_changes_no_price(graph: LayerGraph) -> None:
    costs = costs_of(graph)
    table = table_of(graph, InsertDropout())
    assert {row.cut for row in table.rows} == set(single_cuts(graph))
    for row in table.usable:
        assert len(row.cut.boundary) == 1
        plain = costs.of(row.cut)
        assert row.cost.boundary_bytes == plain.boundary_bytes
        assert row.cost.latency_s == pytest.approx(plain.latency_s)


def carried(codec: Pass, at: str) -> GraphModel:
    return replace(codec, cut=at)(GraphModel(parse_graph(NETWORK)))  # type: ignore[call-arg]


def test_auto_is_the_cut_that_the_model_has_already() -> None:
    model = carried(Halve(), "a")
    table = table_of(model, None)
    assert table.auto.cut.name == "a.encoder"
    assert table.auto in table.rows
    assert table.value(table.best) < table.value(table.auto)
    assert choose(table, "auto").cut.name == "a.encoder"
    assert choose(table, "c").cut.name == "c"


def test_the_cut_that_the_model_has_may_send_several_tensors() -> None:
    graph = parse_graph(NETWORK)
    model = GraphModel(graph).with_cut(Cut.after(graph, ["d"]))
    table = table_of(model, None)
    assert table.auto.kind == "multi"
    assert table.auto in table.rows


def test_the_models_own_cut_keeps_limits_too() -> None:
    table = find_cuts(
        carried(Halve(), "a"), head="rpi4", tail="x86-64-v3", link=LINK,
        constraints=Constraints(min_depth=5),
    )  # fmt: skip
    with pytest.raises(NoLegalCutError, match="the model's own cut may not be used"):
        _ = table.auto


def test_channels_are_looked_through() -> None:
    plain = GraphModel(parse_graph(NETWORK))
    noisy = carried(InsertDropout(), "c")
    assert channel_layers(noisy.graph) == ("c.link_dropout",)
    table = table_of(noisy, None)
    assert str(table.costs.graph) == str(plain.graph)
    assert table.own == Cut.after(plain.graph, ["c"])
    expected = [(row.cut.name, row.cost) for row in table_of(plain, None).rows]
    assert [(row.cut.name, row.cost) for row in table.rows] == expected


def test_a_codec_can_be_put_behind_the_one_that_the_model_has() -> None:
    codec = InsertBottleneck(channels=4, bits=32, channel="awgn")
    table = table_of(carried(codec, "c"), "insert-dropout")
    assert [t.name for t in table.auto.boundary] == ["c.code"]


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_a_cut_means_the_same_tensors_with_and_without_channels(graph: LayerGraph) -> None:
    for cut in single_cuts(graph):
        if len(cut.boundary) != 1:
            continue
        chain = (Insertion("noise", "awgn", cut.boundary[0].static_shape),)
        noisy = GraphModel(graph).insert(cut.boundary[0].name, chain).graph
        for other in single_cuts(graph):
            there = recut(other, noisy)
            plain, back = without_channels(noisy, there)
            assert str(plain) == str(graph)
            assert back is not None
            assert [t.name for t in back.boundary] == [t.name for t in there.boundary]


def test_a_row_with_a_codec_is_printed_with_what_crosses() -> None:
    from splitc.cli.objects import TableObject

    table = table_of(parse_graph(NETWORK), "insert-bottleneck(channels=4)")
    shown = TableObject.of(table)
    assert shown.codec == "insert-bottleneck(channels=4)"
    assert shown.own is None
    assert shown.cuts[0].boundary[0].name == "c.code.levels"
    assert shown.cuts[0].cut == "c"
    assert splitc.find_cuts is find_cuts
