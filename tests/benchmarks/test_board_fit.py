# SPDX-License-Identifier: Apache-2.0
"""Kernels' times count under the right kind, and a fit finds figures that predict."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.board_fit import Measured, fit, implied, predicted_kinds, sums, toml
from benchmarks.kinds import kind_of_kernel, kinds_of_layers
from benchmarks.nets import NETS
from splitc.cost.board import Board, load_board
from splitc.ir.text import parse_graph

NAMES = ("squeezenet", "mobilenet", "resnet18", "alexnet")
NORMED = parse_graph("""
%x = input() : 1x8x4x4
%n = batchnormalization(%x) : 1x8x4x4
%y = relu(%n) : 1x8x4x4
""")


@pytest.mark.parametrize(
    ("rule", "op", "shapes", "kind"),
    [
        ("conv", "conv2d+add", "1x256x56x56 * 128x256x1x1 -> 1x128x56x56", "conv1x1"),
        ("conv", "conv2d+add", "1x256x56x56 * 512x256x1x1 -> 1x512x28x28", "conv1x1"),
        ("conv", "conv2d", "1x64x7x7 * 64x64x3x3 -> 1x64x7x7", "conv3x3"),
        ("conv", "conv2d", "1x64x7x7 * 64x64x3x3 -> 1x64x5x5", "conv3x3"),
        ("conv", "conv2d", "1x64x14x14 * 64x64x3x3 -> 1x64x7x7", "conv"),
        ("conv", "conv2d", "1x64x14x14 * 64x32x3x3 -> 1x64x14x14", "conv"),
        ("conv", "conv2d_transpose+add", "1x8x4x4 * 8x4x2x2 -> 1x4x8x8", "conv"),
        ("winograd4", "conv2d+add", "1x64x56x56 * 64x64x3x3 -> 1x64x56x56", "conv3x3"),
        ("depthwise", "conv2d", "1x32x9x9 * 32x1x3x3 -> 1x32x9x9", "depthwise"),
        ("gemv", "matmul+add", "1x4096 * 4096x1000 -> 1x1000", "gemm"),
        ("softmax", "softmax", "1x1000 -> 1x1000", "norm"),
        ("map", "layout", "1x8x4x4", "move"),
        ("map", "multiply+add+maximum", "1x8x4x4", "norm"),
        ("map", "multiply+add+maximum", "1x8x2x2", "elementwise"),
        ("map", "maximum", "1x8x4x4", "elementwise"),
        ("fallback", "cumsum", "1x8", "elementwise"),
    ],
)
def test_a_kernel_counts_under_its_heaviest_layers_kind(
    rule: str, op: str, shapes: str, kind: str
) -> None:
    assert kind_of_kernel({"rule": rule, "op": op, "shapes": shapes}, NORMED) == kind


def test_a_layer_counts_under_the_kind_of_the_layer_it_is_fused_behind() -> None:
    graph = parse_graph("""
    %x = input() : 1x8x4x4
    %c = conv(%x) : 1x8x4x4
    %r = relu(%c) : 1x8x4x4
    %s = add(%r, %x) : 1x8x4x4
    %p = globalaveragepool(%s) : 1x8x1x1
    %g = mul(%p, %s) : 1x8x4x4
    %j = concat(%g, %s) : 1x16x4x4
    %y = relu(%j) : 1x16x4x4
    """)
    assert kinds_of_layers(graph) == (
        "view", "conv", "conv", "conv", "pool", "elementwise", "move", "elementwise"
    )  # fmt: skip
    assert kinds_of_layers(NORMED) == ("view", "norm", "norm")


def measured_on(board: Board) -> list[Measured]:
    """Networks whose measured times are what a board file predicts."""
    found: list[Measured] = []
    for name in NAMES:
        graph = NETS[name]()
        blank = Measured(name, 0.0, {}, graph, kinds_of_layers(graph))
        times = predicted_kinds(board, blank)
        found.append(Measured(name, sum(times.values()), times, graph, blank.kinds))
    return found


def test_a_fit_predicts_the_times_that_other_figures_gave() -> None:
    start = load_board("x86-64-v3")
    shares = {"conv1x1": 0.31, "conv3x3": 1.4, "depthwise": 0.11}
    truth = msgspec.structs.replace(
        start,
        efficiency=msgspec.structs.replace(start.efficiency, **shares),
        layer_overhead_s=2 * start.layer_overhead_s,
    )
    measured = measured_on(truth)
    fitted = fit(start, measured)
    for one in measured:
        assert sum(predicted_kinds(fitted, one).values()) == pytest.approx(one.ms, rel=0.05)
    assert fitted.efficiency.conv1x1 == pytest.approx(0.31, rel=0.1)
    assert f"conv1x1 = {fitted.efficiency.conv1x1:.2g}" in toml(fitted)
    # What no time tells stays as it was.
    assert fitted.efficiency.recurrent == start.efficiency.recurrent


def test_the_share_reached_is_the_layers_flops_over_time_and_peak() -> None:
    board = load_board("x86-64-v4")
    graph = NETS["resnet18"]()
    flops = sum(layer.flops for layer in graph.layers if layer.kind == "conv3x3")
    one = Measured("resnet18", 9.0, {"conv3x3": 5.0, "move": 1.0}, graph, kinds_of_layers(graph))
    assert implied(board, [one, one]) == {
        "conv3x3": pytest.approx(flops / 5e-3 / board.peak_flops)
    }  # fmt: skip


def test_sums_go_over_every_network_that_has_a_kind() -> None:
    assert sums([{"conv": 1.0, "pool": 2.0}, {"pool": 3.0}]) == {"conv": 1.0, "pool": 5.0}
