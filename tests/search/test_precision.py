# SPDX-License-Identifier: Apache-2.0
"""What a graphics processor's precision makes of predicted times, and of the cut they choose."""

from __future__ import annotations

import msgspec
import pytest

from splitc.build.options import CompileOptions
from splitc.cost.board import Board, Gpu, boards, load_board
from splitc.cost.precision import at_precision, product_flops
from splitc.cost.prices import BoardCost
from splitc.ir.text import parse_graph
from splitc.search.find import find_cuts

NET = parse_graph("""
%x = input() : 1x64x56x56
%a = conv(%x) {params=150000, flops=900000000} : 1x64x56x56
%b = matmul(%a, %x) {flops=900000000} : 1x64x56x56
%y = relu(%b) {flops=200000} : 1x64x56x56
""")
PUBLISHED = {
    # TFLOPS without sparsity, sums in float32: NVIDIA's data sheets, and for Orin the Technical
    # Brief's 170 TOPS of int8 with sparsity, a quarter of which is float16 without. Hopper's by
    # mma.sync are 62.9 % of the data sheet's (arXiv:2501.12084, section 6.2).
    "cuda-sm75": {"float16": 65.0},
    "cuda-sm80": {"tf32": 156.0, "float16": 312.0},
    "cuda-sm86": {"tf32": 62.5, "float16": 125.0},
    "cuda-sm89": {"tf32": 60.0, "float16": 121.0},
    "cuda-sm90": {"tf32": 311.2, "float16": 622.3},
    "jetson-orin": {"tf32": 21.25, "float16": 42.5},
}


def _at(name: str, precision: str) -> Board:
    return at_precision({"server": load_board(name)}, precision)["server"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_tensor_cores_are_as_fast_as_is_published(name: str) -> None:
    unit = boards()[name].unit
    assert isinstance(unit, Gpu) and unit.tensor.keys() == PUBLISHED[name].keys()
    for precision, tflops in PUBLISHED[name].items():
        assert product_flops(_at(name, precision)) / 1e12 == pytest.approx(tflops, rel=0.015)
    assert product_flops(load_board(name)) == load_board(name).peak_flops


def test_products_by_weights_are_at_tensor_cores_rate_and_others_are_not() -> None:
    single, tf32 = (BoardCost(_at("cuda-sm90", each)).terms(NET) for each in ("float32", "tf32"))
    peak = load_board("cuda-sm90").peak_flops
    faster = product_flops(_at("cuda-sm90", "tf32")) / peak
    assert tf32[1].arithmetic_s * faster == pytest.approx(single[1].arithmetic_s)
    assert (tf32[0], *tf32[2:]) == (single[0], *single[2:])
    assert tf32[1].memory_s == single[1].memory_s


def test_in_float16_what_lies_between_layers_has_half_the_bytes() -> None:
    single, half = (BoardCost(_at("cuda-sm90", each)).terms(NET) for each in ("float32", "float16"))
    for one, other in zip(single, half, strict=True):
        assert other.memory_s == pytest.approx(one.memory_s / 2)
        assert other.overhead_s == one.overhead_s


def test_a_tail_in_float16_begins_earlier_where_its_speed_is_worth_the_way() -> None:
    # The head's board takes 103 ms for the middle layer and the tail's 14 in float32, 2 in
    # float16; what goes into it takes 96 ms longer to send than what comes out.
    net = parse_graph("""
    %x = input() : 1x64x56x56
    %a = conv(%x) {params=2000, flops=1000000} : 1x64x56x56
    %b = conv(%a) {params=150000, flops=40000000000} : 1x8x8x8
    %y = gemm(%b) {params=1000, flops=10000} : 1x10
    """)
    head_has_middle: dict[str, bool] = {}
    for precision in ("float32", "float16"):
        given = {"model": "none.onnx", "target": "x86-64-v3", "tail_target": "cuda-sm75",
                 "bandwidth": "67Mbit", "precision": precision}  # fmt: skip
        scenario = msgspec.convert(given, CompileOptions).scenario()
        best = find_cuts(net, scenario=scenario).rows[0].cut
        head_has_middle[precision] = best.holds(net.producer["b"])
    assert head_has_middle == {"float32": True, "float16": False}
