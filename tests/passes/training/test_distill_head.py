# SPDX-License-Identifier: Apache-2.0
"""The pass `distill-head`: text before and after, extents, memory, refusals."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitc
from splitc.cost.board import load_board
from splitc.cost.prices import BoardCost, Costs
from splitc.errors import (
    BadModelError,
    IllegalCutError,
    SplitcError,
    UnsupportedOpError,
    UsageError,
)
from splitc.ir.chain import Insertion
from splitc.ir.cut import Cut
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc_passes.training.distill_head import DistillHead
from splitc_passes.training.student import Plan, head_bytes, layers, plan
from tests.helpers import assert_rewrites, small_network

BEFORE = """
%x = input() : 1x3x8x8
%a = conv(%x) {params=1792, flops=28672} : 1x16x8x8
%b = relu(%a) {flops=1024} : 1x16x8x8
%t = conv(%b) {params=9280, flops=73728} : 1x16x4x4
%u = relu(%t) {flops=256} : 1x16x4x4
%y = add(%t, %u) {flops=256} : 1x16x4x4
"""


def model(text: str = BEFORE, cut: str = "") -> splitc.GraphModel:
    made = splitc.GraphModel(parse_graph(text))
    return made.with_cut(Cut.after(made.graph, [cut])) if cut else made


def test_the_students_layers_stand_in_the_place_of_the_heads() -> None:
    # 4-byte numbers: 4 x 3 x 3 x 3 weights and 4 biases, then 16 x 4 x 3 x 3 and 16;
    # two operations for each weight at each place
    after = """
    %x = input() : 1x3x8x8
    %t.student1 = conv(%x) {params=448, flops=3456} : 1x4x4x4
    %t.student1.relu = relu(%t.student1) {flops=64} : 1x4x4x4
    %t.student2 = conv(%t.student1.relu) {params=2368, flops=18432, kind=conv3x3} : 1x16x4x4
    %u = relu(%t.student2) {flops=256} : 1x16x4x4
    %y = add(%t.student2, %u) {flops=256} : 1x16x4x4
    """
    assert_rewrites(DistillHead(cut="t", width=4), BEFORE, after)


def test_behind_a_relu_it_ends_with_one_and_the_cut_is_there() -> None:
    made = DistillHead(cut="u", width=2)(model(BEFORE.replace("add(%t, %u)", "add(%u, %u)")))
    assert made.cut is not None
    assert [t.name for t in made.cut.boundary] == ["u.student2.relu"]
    assert [layer.name for layer in made.graph.layers if not layer.name.startswith("u.")] == [
        "x",
        "y",
    ]


def test_a_bottleneck_is_what_crosses_and_the_tail_restores_it() -> None:
    made = DistillHead(cut="t", width=4, bottleneck=2)(model())
    assert made.cut is not None
    (crossing,) = made.cut.boundary
    assert (crossing.name, crossing.shape) == ("t.student2.relu", (1, 2, 4, 4))
    assert made.graph.tensors["t.student3"].shape == (1, 16, 4, 4)


def test_it_takes_the_models_own_cut_and_survives_its_text() -> None:
    text = 'distill-head(cut="t", max_head_bytes=20000, depth=3, activation="none", seed=7)'
    pipeline = splitc.Pipeline.parse(text)
    assert str(pipeline) == text
    own = splitc.Pipeline.parse("distill-head(width=4)")
    assert str(own(model(cut="t")).graph) == str(DistillHead(cut="t", width=4)(model()).graph)


def test_the_whole_pipeline_sees_the_student() -> None:
    pipeline = splitc.Pipeline.parse(
        'distill-head(cut="t", width=4), insert-bottleneck(channels=4)'
    )
    made = pipeline(model())
    assert made.cut is not None
    assert made.cut.boundary[0].name.startswith("t.student2.code")
    head = {made.graph.layers[i].name for i in made.cut.head}
    assert {"t.student1", "t.student2", "t.student2.encoder"} < head


def test_a_narrow_students_cut_takes_a_codec_too() -> None:
    pipeline = splitc.Pipeline.parse(
        'distill-head(cut="t", width=4, bottleneck=2), add-noise-bottleneck(channels=1)'
    )
    made = pipeline(model())
    assert made.cut is not None
    assert made.cut.boundary[0].shape == (1, 1, 2, 2)


extents = st.integers(1, 300)


@settings(deadline=None)
@given(st.data(), extents, extents, st.integers(0, 8), st.booleans())
def test_a_student_ends_with_the_boundarys_extents(
    data: st.DataObject, height: int, width: int, depth: int, narrow: bool
) -> None:
    target = (2, 24, data.draw(st.integers(1, height)), data.draw(st.integers(1, width)))
    try:
        chosen = _plan((2, 3, height, width), target, depth=depth, bottleneck=5 * narrow)
    except UsageError as error:
        assert depth and "too shallow" in error.what
        assert "takes" in error.why
        return
    assert len(chosen.shapes) == (depth or len(chosen.shapes)) >= 2
    read = chosen.source
    for k, (shape, step) in enumerate(zip(chosen.shapes, chosen.steps, strict=True)):
        if chosen.pooled and k == len(chosen.shapes) - 1:
            assert all(h >= t for h, t in zip(read[2:], target[2:], strict=True))
            read = (*read[:2], *target[2:])
        for extent, made, (stride, padding) in zip(read[2:], shape[2:], step, strict=True):
            assert made == (extent + 2 * padding - 3) // stride + 1
        read = shape
    assert read == target
    chain = layers(chosen, "float32", 0)
    assert chain[-1].shape == target
    if narrow:
        assert chain[chosen.head_layers - 1].shape == (2, 5, *target[2:])


def test_common_extents_are_reached_without_a_pool() -> None:
    ways = [
        (224, 7),
        (224, 55),
        (224, 13),
        (299, 35),
        (299, 73),
        (32, 32),
        (32, 15),
        (33, 9),
        (5, 1),
    ]
    for extent, wanted in ways:
        assert not _plan((1, 3, extent, extent), (1, 8, wanted, wanted)).pooled
    assert _plan((1, 3, 96, 96), (1, 8, 32, 32)).pooled


def _plan(
    source: tuple[int, ...], target: tuple[int, ...], *, depth: int = 0, bottleneck: int = 0,
    width: int = 4, max_bytes: int = 0, widest: int = 64,
) -> Plan:  # fmt: skip
    return plan(
        source, target, "float32", depth=depth, bottleneck=bottleneck, relu=True, width=width,
        widest=widest, max_bytes=max_bytes,
    )  # fmt: skip


@pytest.mark.parametrize("bottleneck", [0, 3])
@pytest.mark.parametrize("limit", [20_000, 30_000, 45_000, 60_000])
def test_the_student_is_the_widest_within_the_limit(limit: int, bottleneck: int) -> None:
    source, target = (1, 3, 32, 32), (1, 32, 8, 8)
    chosen = _plan(source, target, depth=4, width=0, max_bytes=limit, bottleneck=bottleneck)
    assert head_bytes(chosen, "float32") <= limit
    channels = chosen.shapes[0][1]
    wider = _plan(source, target, depth=4, width=channels + 1, bottleneck=bottleneck)
    assert head_bytes(wider, "float32") > limit


def test_no_layer_is_wider_than_the_widest_of_the_head() -> None:
    made = DistillHead(cut="t", max_head_bytes=10**9, depth=4)(model())
    maps = [t.shape for t in made.graph.tensors.values() if t.shape]
    assert max(shape[1] or 0 for shape in maps) == 16


@pytest.mark.parametrize("bottleneck", [0, 2])
def test_the_limit_counts_what_the_cost_model_counts(bottleneck: int) -> None:
    one = DistillHead(cut="t", width=4, bottleneck=bottleneck)
    made = one(model())
    assert made.cut is not None
    prices = Costs(made.graph, BoardCost(load_board("rpi4")), BoardCost(load_board("host")),
                   Link("20Mbit"))  # fmt: skip
    peak = prices.of(made.cut).head_peak_bytes
    assert str(dataclasses.replace(one, max_head_bytes=peak)(model()).graph) == str(made.graph)
    with pytest.raises(UsageError, match=f"fits {peak - 1:,} bytes(.|\n)*takes {peak:,} bytes"):
        dataclasses.replace(one, max_head_bytes=peak - 1)(model())


OTHERS = """
%x = input() : 1x3x8x8
%v = flatten(%x) : 1x192
%w = relu(%v) : 1x192
%y = reshape(%w) : 1x12x4x4
%z = resize(%y) : 1x12x16x16
%r = relu(%z) : 1x12x16x16
"""
TWO = "%a = input() : 1x3x8x8\n%b = input() : 1x3x8x8\n%s = add(%a, %b) : 1x3x8x8\n"
EARLY = "%x = input() : 1x3x8x8\n%t = relu(%x) : 1x3x8x8\n%y = relu(%t) : 1x3x8x8\nreturn %t, %y\n"
REFUSED: dict[str, tuple[str, DistillHead, type[SplitcError], str]] = {
    "no size": (BEFORE, DistillHead(cut="t"), UsageError, "max_head_bytes=BYTES"),
    "below 0": (BEFORE, DistillHead(cut="t", width=-1), UsageError, "width -1 is below 0"),
    "too shallow": (
        BEFORE, DistillHead(cut="t", width=1, depth=1), UsageError, "8x8 to 4x4 takes 2 layers",
    ),
    "too wide": (BEFORE, DistillHead(cut="t", width=17), UsageError, "width 17 is above 16"),
    "bottleneck too wide": (
        BEFORE, DistillHead(cut="t", width=1, bottleneck=17), UsageError, "bottleneck 17 is above",
    ),
    "too little memory": (
        BEFORE, DistillHead(cut="t", max_head_bytes=100), UsageError, "no student of 2 layers fits",
    ),
    "unknown activation": (
        BEFORE, DistillHead(cut="t", width=1, activation="gelu"),  # pyright: ignore[reportArgumentType]
        UsageError, "activation 'gelu' is unknown",
    ),
    "an edge round it": (BEFORE, DistillHead(cut="u", width=1), IllegalCutError, "goes round it"),
    "no such layer": (BEFORE, DistillHead(cut="q", width=1), IllegalCutError, "no layer 'q'"),
    "no cut": (BEFORE, DistillHead(width=1), IllegalCutError, "the model has no cut"),
    "a vector": (OTHERS, DistillHead(cut="w", width=1), IllegalCutError, "'w' is 1x192: a student"),
    "larger": (OTHERS, DistillHead(cut="z", width=1), IllegalCutError,
        "'z' has larger extents than 'x'"),
    "two inputs": (TWO + "%y = relu(%s) : 1x3x8x8\n", DistillHead(cut="s", width=1),
        IllegalCutError, "has 2 inputs: a, b"),
    "a result in the head": (EARLY, DistillHead(cut="t", width=1), IllegalCutError,
        "makes a result of the network: 't'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case: str) -> None:
    text, one, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        one(model(text))


@pytest.mark.parametrize(
    ("boundary", "match"), [("2x3x8x8", "batch is 1 in 'x' and 2"), ("1x3x8x8 float16", "float32")]
)
def test_input_and_boundary_have_to_go_together(boundary: str, match: str) -> None:
    text = f"%x = input() : 1x3x8x8\n%t = op(%x) : {boundary}\n%y = relu(%t) : {boundary}\n"
    with pytest.raises(IllegalCutError, match=match):
        DistillHead(cut="t", width=1)(model(text))


def test_an_onnx_graph_takes_no_untrained_head() -> None:
    loaded = splitc.load(small_network())
    with pytest.raises(UnsupportedOpError, match="has to be trained(.|\n)*to_torch"):
        DistillHead(cut="pool", width=2)(loaded)


def test_a_chain_that_makes_another_tensor_is_refused() -> None:
    made = model()
    chain = [Insertion("new", "conv", (1, 16, 5, 5))]
    with pytest.raises(BadModelError, match=r"makes \(\(1, 16, 5, 5\), 'float32'\), what crosses"):
        made.replace_head(Cut.after(made.graph, ["t"]), chain)
