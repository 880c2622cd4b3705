# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products in bfloat16: what float64 gives of rounded operands, and nothing where none is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import splitc
from splitc.bundle.bundle import Bundle
from splitc.bundle.difference import BFLOAT16_TOLERANCE
from splitc.cost.board import Board, load_board, why_not_here
from splitc.cost.precision import at_precision, in_float32
from splitc.cost.prices import BoardCost
from splitc.cost.stress import IDLE
from splitc.errors import UsageError
from splitc.ir.text import parse_graph
from splitc_targets import pipeline
from splitc_targets.kernels.product import pairs
from splitc_targets.machine.machine import machine_of
from splitc_targets.pipeline import Code
from splitc_targets.tvm import adapter
from tests.helpers import save
from tests.targets.nets import Array, Net, computed, wanted
from tests.targets.rules.test_networks import sweep

FEATURE = "+avx512bf16"
needs_bf16 = pytest.mark.skipif(
    bool(why_not_here("x86_64", "x86-64-v4", [FEATURE])),
    reason="this processor has no products of bfloat16",
)
HALF_STEP = 2.0**-9
"""Of a number: bfloat16 keeps 7 bits behind the first, and rounds to the nearest."""


def asked() -> Board:
    """A board that multiplies in bfloat16, as `--precision bf16` makes it."""
    board = load_board("x86-64-v4")
    unit = msgspec.structs.replace(board.processor, features=(FEATURE,))
    board = msgspec.structs.replace(board, unit=unit, cores=2)
    return at_precision({"server": board}, "bf16")["server"]


def rounded(values: Array) -> Array:
    """The nearest bfloat16, as float32; by torch."""
    return torch.from_numpy(np.ascontiguousarray(values)).bfloat16().float().numpy()


def compiled(net: Net) -> Code:
    """A network compiled at that precision."""
    return pipeline.compile_module(adapter.lower(net.proto()), asked())


def rules(code: Code) -> list[str]:
    """What computes the layers of a network, but for what moves and rounds its input."""
    return [kernel.rule for kernel in code.kernels if kernel.rule != "map"]


def in_float64(x: Array, w: Array, bias: Array | None, **how: Any) -> Array:
    """torch's convolution in float64, of operands rounded to bfloat16."""
    x64, w64 = (torch.from_numpy(rounded(each)).double() for each in (x, w))
    added = None if bias is None else torch.from_numpy(bias).double()
    return torch.nn.functional.conv2d(x64, w64, added, **how).numpy()


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1x1": ((1, 70, 12, 12), (33, 70, 1, 1), {}),
    "1x1 of a batch, strides": ((2, 34, 9, 11), (40, 34, 1, 1), {"stride": 2}),
    "5x5, a border": ((2, 24, 13, 11), (17, 24, 5, 5), {"padding": 2}),
    "3x3, strides and dilation": ((1, 16, 15, 14), (70, 16, 3, 3),
                                  {"padding": 2, "stride": 2, "dilation": 2}),
    "groups": ((1, 48, 7, 9), (66, 16, 3, 3), {"groups": 3, "padding": 1}),
    "5x2, all of one map": ((1, 10, 5, 2), (5, 10, 5, 2), {}),
}  # fmt: skip


@needs_bf16
@pytest.mark.parametrize("case", CASES)
def test_convolutions_are_what_float64_gives_of_rounded_operands(case: str) -> None:
    x_shape, w_shape, how = CASES[case]
    net = Net(0)
    x, w, bias = net.random(*x_shape), net.random(*w_shape), net.random(w_shape[0])
    pads, strides, dilations = (
        [how.get(name, usual)] * 2 for name, usual in (("padding", 0), ("stride", 1),
                                                       ("dilation", 1))
    )  # fmt: skip
    net.outputs = [net.op(
        "Conv", net.input(values=x), w, bias, pads=pads * 2, strides=strides,
        dilations=dilations, group=how.get("groups", 1),
    )]  # fmt: skip
    code = compiled(net)
    (got,), want = computed(code, net.proto(), net.inputs), in_float64(x, w, bias, **how)
    assert rules(code) == ["pairs"]
    # Of sums of so many terms in float32, which are summed in two orders.
    terms = int(np.prod(w_shape[1:]))
    sizes = in_float64(np.abs(x), np.abs(w), np.abs(bias), **how)
    assert np.all(np.abs(got - want) <= 2.0**-24 * (terms + 4) * sizes)


SIZES = {
    "whole vectors": ((1, 64, 20, 22), 64, 1),
    "a batch, odd sizes, no border": ((2, 66, 17, 13), 70, 0),
    "channels beyond vectors": ((1, 90, 11, 19), 113, 1),
    "several chunks": ((1, 128, 57, 31), 130, 1),
}


def by_tiles(x: Array, w: Array, pad: int) -> Array:
    """F(2x2, 3x3) in float64 as Lavin and Gray have it, what is multiplied rounded to bfloat16."""
    g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    b = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    a = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
    n, _, height, width = x.shape
    down, across = height + 2 * pad - 2, width + 2 * pad - 2
    room = [(0, 0), (0, 0), (pad, pad + 1), (pad, pad + 1)]
    x, u = np.pad(rounded(x), room), rounded((g @ w @ g.T).astype(np.float32))
    y = np.zeros((n, len(w), down + 1, across + 1))
    for i in range(0, down, 2):
        for j in range(0, across, 2):
            v = rounded(b.astype(np.float32) @ x[:, :, i : i + 4, j : j + 4] @ b.T.astype("f"))
            p = np.einsum("kcab,ncab->nkab", u.astype(np.float64), v.astype(np.float64))
            y[:, :, i : i + 2, j : j + 2] = a @ p @ a.T
    return y[:, :, :down, :across]


@needs_bf16
@pytest.mark.parametrize("case", SIZES)
def test_winograds_products_are_of_transformed_numbers_rounded_once(case: str) -> None:
    shape, out, pad = SIZES[case]
    net = Net(9)
    x, w = net.random(*shape), net.random(out, shape[1], 3, 3)
    net.outputs = [net.op("Relu", net.op("Conv", net.input(values=x), w, pads=[pad] * 4))]
    code = compiled(net)
    (got,) = computed(code, net.proto(), net.inputs)
    assert rules(code) == ["pairwinograd2"]
    want, plain = np.maximum(by_tiles(x, w, pad), 0), in_float64(x, w, None, padding=pad)
    np.testing.assert_allclose(got, want, rtol=0, atol=4e-6 * np.abs(want).max())
    # Beside products of operands rounded once: rounding again adds as much as each of them did.
    off = np.sqrt(np.mean((got - np.maximum(plain, 0)) ** 2) / np.mean(plain**2))
    assert 0 < off < 2 * HALF_STEP


@needs_bf16
def test_what_is_no_number_stays_so_in_the_tiles_that_it_touches() -> None:
    net = Net(10)
    x, w = net.random(1, 64, 18, 18), net.random(64, 64, 3, 3)
    x[0, 3, 4, 5], x[0, 7, 12, 13] = np.nan, np.inf
    net.outputs = [net.op("Conv", net.input(values=x), w, pads=[1] * 4)]
    code = compiled(net)
    (got,) = computed(code, net.proto(), net.inputs)
    assert rules(code) == ["pairwinograd2"]
    lost, want = ~np.isfinite(got[0, 0]), ~np.isfinite(in_float64(x, w, None, padding=1)[0, 0])
    assert np.all(lost[want])
    far = np.ones_like(lost)
    far[2:8, 4:8] = far[10:16, 12:16] = False
    assert want.any() and not lost[far].any()


@needs_bf16
def test_products_of_rows_are_what_float64_gives_of_rounded_operands() -> None:
    net = Net(1)
    x, w = net.random(3, 7, 66), net.random(66, 45)
    net.outputs = [net.op("Relu", net.op("MatMul", net.input(values=x), w))]
    code = compiled(net)
    (got,) = computed(code, net.proto(), net.inputs)
    want = np.maximum(rounded(x).astype(np.float64) @ rounded(w).astype(np.float64), 0)
    assert rules(code) == ["pairs"]
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())


@needs_bf16
def test_infinities_and_not_a_numbers_come_out_as_in_float32() -> None:
    net = Net(2)
    x = net.random(20, 24)
    x[3, 5], x[7, 2], x[9, 1] = np.inf, np.nan, -np.inf
    x[11, 4] = np.finfo(np.float32).max  # Nearest to which is infinity.
    w = np.abs(net.random(24, 19)) + 0.1
    w[6, 7], w[8, 9] = np.inf, np.nan
    net.outputs = [net.op("MatMul", net.input(values=x), w)]
    (got,) = computed(compiled(net), net.proto(), net.inputs)
    with np.errstate(all="ignore"):
        want = rounded(x) @ rounded(w)
    assert np.isinf(want[11]).any() and np.isnan(want).any()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    infinite = np.isinf(want)
    np.testing.assert_array_equal(got[infinite], want[infinite])


@needs_bf16
@sweep(25)
@given(st.data())
def test_networks_are_off_by_what_rounding_of_operands_makes(data: st.DataObject) -> None:
    def some(*values: Any) -> Any:
        return data.draw(st.sampled_from(values))

    net = Net(data.draw(st.integers(0, 2**16)))
    channels, groups = some(8, 10, 16, 34), some(1, 1, 2)
    x = net.input(some(1, 2), channels * groups, some(1, 5, 12), some(1, 4, 17))
    out, kernel = some(1, 9, 16, 50) * groups, some(1, 3)
    w = net.random(out, channels, kernel, kernel) / np.float32(kernel * channels**0.5)
    y = net.op("Conv", x, w, net.random(out), group=groups, pads=[kernel // 2] * 4,
               strides=[some(1, 2)] * 2)  # fmt: skip
    y = net.op(some("Relu", "Sigmoid", "Identity"), y)
    z = net.op("Conv", y, net.random(some(3, 40), out, 1, 1) / np.float32(out**0.5))
    side = net.op("Add", y, net.op("Relu", net.op("Conv", y, net.random(out, out, 1, 1) / out)))
    pool = net.op("MaxPool", side, kernel_shape=[1, 1], strides=[2, 2])
    net.outputs = [z, pool, net.op("Concat", y, side, axis=1)]
    got, want = computed(compiled(net), net.proto(), net.inputs), wanted(net.proto(), net.inputs)
    for a, b in zip(got, want, strict=True):
        # A product is off by two half steps of itself; sums of random signs are smaller than
        # those of sizes by less than 8 here; two layers follow each other.
        assert a.shape == b.shape
        most = 2 * (2 * HALF_STEP) * 8 * max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=most)


@needs_bf16
def test_layers_of_an_odd_channel_or_few_stay_in_float32() -> None:
    net = Net(3)
    x = net.input(1, 3, 12, 12)
    y = net.op("Conv", x, net.random(33, 3, 3, 3))
    y = net.op("Conv", y, net.random(16, 33, 1, 1))
    net.outputs = [y]
    code = compiled(net)
    assert rules(code) == ["conv", "conv"]
    got, want = computed(code, net.proto(), net.inputs), wanted(net.proto(), net.inputs)
    np.testing.assert_allclose(got[0], want[0], rtol=0, atol=2e-5 * np.abs(want[0]).max())


@needs_bf16
def test_an_output_that_a_product_reads_too_is_not_rounded() -> None:
    net = Net(4)
    y = net.op("Relu", net.input(1, 16, 6, 6))
    net.outputs = [y, net.op("Conv", y, net.random(16, 16, 1, 1))]
    got = computed(compiled(net), net.proto(), net.inputs)
    np.testing.assert_array_equal(got[0], wanted(net.proto(), net.inputs)[0])


def test_weights_are_rounded_to_nearest_even_and_take_half_the_bytes() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    bits[:5000] = (bits[:5000] & 0xFFFF0000) | 0x8000  # Halfway: to the even neighbour.
    values = bits.view(np.float32)
    values = values[(np.abs(values) >= np.finfo(np.float32).tiny) | (values == 0)]
    made = (pairs.rounded(values).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(made, rounded(values))
    net = Net(5)
    net.outputs = [net.op("MatMul", net.input(2, 64), net.random(64, 48))]
    plan = pipeline.plan_module(adapter.lower(net.proto()), asked())
    (weights,) = [v for step in plan.steps for v in step.args if v.buffer.holds_weights]
    assert weights.buffer.size * 4 == 2 * 64 * 48


def test_kernels_say_which_of_them_multiply_in_bfloat16() -> None:
    net = Net(8)
    y = net.op("Conv", net.input(1, 3, 12, 12), net.random(32, 3, 3, 3))
    net.outputs = [net.op("Conv", y, net.random(64, 32, 1, 1))]
    said = [kernel.op for kernel in compiled(net).kernels if kernel.rule != "map"]
    assert said == ["conv2d", "conv2d in bf16"]


@needs_bf16
def test_the_instructions_are_there_and_no_function_is_called() -> None:
    net = Net(6)
    net.outputs = [net.op("Conv", net.input(1, 16, 9, 9), net.random(40, 16, 3, 3))]
    code = compiled(net)
    text = adapter.assembly(code.library)
    assert "vdpbf16ps" in text and "vcvtneps2bf16" in text
    assert "__truncsfbf2" not in text and "splitc_" not in text


def test_nothing_uses_them_that_does_not_ask() -> None:
    net = Net(7)
    net.outputs = [net.op("MatMul", net.input(2, 64), net.random(64, 48))]
    module = adapter.lower(net.proto())
    board = load_board("x86-64-v4")
    able = msgspec.structs.replace(
        board, unit=msgspec.structs.replace(board.processor, features=(FEATURE,))
    )
    assert machine_of(able) == machine_of(board)
    assert machine_of(asked()).multiplying("bfloat16") is not None
    keys = [[step.key for step in pipeline.plan_module(module, each).steps]
            for each in (able, board)]  # fmt: skip
    assert keys[0] == keys[1]


def test_a_board_that_lacks_it_is_refused_and_one_beside_goes_on_in_float32() -> None:
    rpi4 = load_board("rpi4")
    with pytest.raises(UsageError, match="no target multiplies in bf16: rpi4") as raised:
        at_precision({"device": rpi4}, "bf16")
    assert "Zen 4" in raised.value.why
    able = load_board("x86-64-v4")
    able = msgspec.structs.replace(
        able, unit=msgspec.structs.replace(able.processor, on_request=(FEATURE,))
    )
    made = at_precision({"device": rpi4, "server": able}, "bf16")
    assert made["device"] == rpi4
    assert made["server"].unit.precision == "bf16"
    assert made["server"].processor.features == (FEATURE,)


@needs_bf16
def test_a_bundle_says_its_tolerance_and_cannot_ask_for_a_looser_one(tmp_path: Path) -> None:
    net = Net(8)
    y = net.op("Relu", net.op("Conv", net.input(1, 16, 8, 8), net.random(16, 16, 1, 1) / 4))
    net.outputs = [net.op("Conv", y, net.random(16, 16, 3, 3) / 12)]
    model = save(net.proto(), tmp_path / "net.onnx")
    bundle = splitc.compile(
        model, cut=net.nodes[1].name or y, head="x86-64-v4", tail=asked(),
        output=tmp_path / "a.splitc",
    )  # fmt: skip
    tail = json.loads((bundle.path / "tail" / "manifest.json").read_text())
    head = json.loads((bundle.path / "head" / "manifest.json").read_text())
    assert FEATURE in tail["features"] and FEATURE not in head.get("features", [])
    found = bundle.verify()
    assert found.tolerance == bundle.manifest.tolerance == BFLOAT16_TOLERANCE
    (check,) = found.routes.values()
    assert 1e-5 < check.outputs[0].relative <= BFLOAT16_TOLERANCE
    assert max(one.relative for one in check.boundary) < 1e-5
    file = bundle.path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tolerance": 1e9}))
    assert Bundle.open(bundle.path).verify().tolerance == BFLOAT16_TOLERANCE


def test_predicted_times_know_it() -> None:
    graph = parse_graph("""
    %x = input() : 1x256x28x28
    %a = conv(%x) {params=65536, flops=102760448} : 1x256x28x28
    %y = relu(%a) : 1x256x28x28
    """)
    board = asked()
    single, half = (
        sum(terms.seconds(IDLE) for terms in BoardCost(each).terms(graph))
        for each in (in_float32(board), board)
    )
    assert 0.4 * single < half < 0.75 * single
