# SPDX-License-Identifier: Apache-2.0
"""The pass `quantize-boundary`: text before and after, bytes, ONNX against numpy, refusals."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

import splitc
from splitc.errors import IllegalCutError, PassError, SplitcError, UnsupportedOpError, UsageError
from splitc_passes.analyses.group_blocks import cut_points
from splitc_passes.codecs.bit_packing import group_of
from splitc_passes.codecs.quantize_boundary import QuantizeBoundary
from splitc_passes.codecs.value_range import calibrate
from tests.helpers import assert_rewrites, model_of, shared, small_network

Array = np.ndarray[Any, np.dtype[Any]]


def test_eight_bits_cross_as_bytes_in_the_tensors_own_shape() -> None:
    before = """
    %x = input() : 1x3x8x8
    %t = conv(%x) : 1x16x8x8
    %a = relu(%t) : 1x16x8x8
    %y = add(%t, %a) : 1x16x8x8
    """
    after = """
    %x = input() : 1x3x8x8
    %t = conv(%x) : 1x16x8x8
    %t.unit = hardsigmoid(%t) {flops=3072} : 1x16x8x8
    %t.scaled = mul(%t.unit) {params=4, flops=1024} : 1x16x8x8
    %t.shifted = add(%t.scaled) {params=4, flops=1024} : 1x16x8x8
    %t.levels = cast(%t.shifted) : 1x16x8x8 uint8
    %t.floats = cast(%t.levels) : 1x16x8x8
    %t.steps = mul(%t.floats) {params=4, flops=1024} : 1x16x8x8
    %t.restored = add(%t.steps) {params=4, flops=1024} : 1x16x8x8
    %a = relu(%t.restored) : 1x16x8x8
    %y = add(%t.restored, %a) : 1x16x8x8
    """
    assert_rewrites(QuantizeBoundary("t", low=-1, high=1), before, after)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (2, 5), (3, 8)])
@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 3.0), (2.0, 5.0), (-0.7, -0.3)])
def test_what_stands_for_lost_levels_is_the_code_of_zero(
    bits: int, shape: tuple[int, ...], low: float, high: float
) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["t"], "t"), helper.make_node("Neg", ["t"], ["y"], "y")]
    plain = splitc.load(model_of(nodes, {"x": shape}, ["y"]), simplify=False)
    model = QuantizeBoundary("t", bits, low, high)(plain)
    assert model.cut is not None
    head, tail = model.split(model.cut)
    sent = head.run({"x": np.zeros(shape, np.float32)})["t.levels"]
    code = model.codes["t.levels"]
    assert code.unit == group_of(bits).octets
    fill = code.fill or b"\0"
    lost = np.frombuffer((fill * sent.nbytes)[: sent.nbytes], np.uint8).reshape(sent.shape)
    # Past the last level of a sample there may be bits that nobody reads.
    np.testing.assert_array_equal(
        tail.run({"t.levels": lost})["y"], tail.run({"t.levels": sent})["y"]
    )
    assert len(fill) == 1 or len({*fill}) > 1


def test_other_widths_are_packed_and_padded_to_whole_bytes() -> None:
    before = """
    %x = input() : 2x5
    %t = tanh(%x) : 2x5
    %y = relu(%t) : 2x5
    """
    after = """
    %x = input() : 2x5
    %t = tanh(%x) : 2x5
    %t.unit = hardsigmoid(%t) {flops=30} : 2x5
    %t.scaled = mul(%t.unit) {params=4, flops=10} : 2x5
    %t.shifted = add(%t.scaled) {params=4, flops=10} : 2x5
    %t.whole = floor(%t.shifted) {flops=10} : 2x5
    %t.padded = concat(%t.whole) {params=24} : 2x8
    %t.words = reshape(%t.padded) {params=24} : 2x2x4
    %t.pieces = matmul(%t.words) {params=96, flops=192} : 2x2x6
    %t.parts = floor(%t.pieces) {flops=24} : 2x2x6
    %t.octets = matmul(%t.parts) {params=72, flops=144} : 2x2x3
    %t.bytes = reshape(%t.octets) {params=16} : 2x6
    %t.sent = slice(%t.bytes) {params=24} : 2x4
    %t.levels = cast(%t.sent) : 2x4 uint8
    %t.floats = cast(%t.levels) : 2x4
    %t.filled = concat(%t.floats) {params=16} : 2x6
    %t.received = reshape(%t.filled) {params=24} : 2x2x3
    %t.fields = matmul(%t.received) {params=72, flops=144} : 2x2x6
    %t.digits = floor(%t.fields) {flops=24} : 2x2x6
    %t.apart = matmul(%t.digits) {params=96, flops=192} : 2x2x4
    %t.line = reshape(%t.apart) {params=16} : 2x8
    %t.kept = slice(%t.line) {params=24} : 2x5
    %t.steps = mul(%t.kept) {params=4, flops=10} : 2x5
    %t.restored = add(%t.steps) {params=4, flops=10} : 2x5
    %y = relu(%t.restored) : 2x5
    """
    assert_rewrites(QuantizeBoundary("t", bits=6, low=-1, high=1), before, after)


def test_it_survives_its_text_and_takes_the_models_cut_and_a_sigmoids_range() -> None:
    text = "%x = input() : 1x4\n%t = sigmoid(%x) : 1x4\n%y = relu(%t) : 1x4\n"
    model = splitc.GraphModel(splitc.parse_graph(text))
    model = model.with_cut(splitc.Cut.after(model.graph, ["t"]))
    pipeline = splitc.Pipeline.parse("quantize-boundary(bits=2)")
    assert str(pipeline) == "quantize-boundary(bits=2)"
    cut = pipeline(model).cut
    assert cut is not None
    assert [(t.name, t.shape, t.dtype) for t in cut.boundary] == [("t.levels", (1, 1), "uint8")]


def row_network(values: int, opset: int = 17) -> ModelProto:
    """One tensor of so many values, identity before it and behind it."""
    return model_of(
        [helper.make_node("Neg", ["x"], ["t"], "t"), helper.make_node("Neg", ["t"], ["y"], "y")],
        {"x": [1, values]},
        ["y"],
        opset=opset,
    )


def packed(levels: Array, bits: int) -> Array:
    """Levels as Python's integers pack them, the lowest bit first."""
    number = sum(int(level) << (bits * place) for place, level in enumerate(levels))
    size = math.ceil(bits * len(levels) / 8)
    return np.frombuffer(number.to_bytes(size, "little"), np.uint8)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("values", [1, 8, 37])
def test_onnxruntime_sends_the_bits_that_numpy_says(bits: int, values: int) -> None:
    low, high, top = -1.5, 2.5, 2**bits - 1
    rng = np.random.default_rng(values)
    wanted = rng.integers(0, top + 1, values)
    # Up to 0.4 of a step beside a level, so that no rounding of fp32 moves it to another.
    t = low + (wanted + rng.uniform(-0.4, 0.4, values)) * (high - low) / top
    t[0], wanted[0] = high + 7, top
    t[-1], wanted[-1] = low - 7, 0
    model = splitc.load(row_network(values), simplify=False)
    made = QuantizeBoundary("t", bits, low, high)(model)
    assert made.cut is not None
    head, tail = made.split(made.cut)
    sent = head.run({"x": -t[None].astype(np.float32)})["t.levels"]
    np.testing.assert_array_equal(sent.reshape(-1), packed(wanted, bits))
    assert made.cut.boundary_bytes == sent.nbytes == math.ceil(bits * values / 8)
    restored = -tail.run({"t.levels": sent})["y"][0]
    step = (high - low) / top
    assert np.abs(restored - np.clip(t, low, high)).max() <= 0.5 * step + 1e-5
    np.testing.assert_allclose(restored, low + wanted * step, atol=1e-5)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 12, 13, 21])
def test_every_opset_has_what_whole_groups_need(opset: int) -> None:
    model = splitc.load(row_network(8, opset), simplify=False)
    t = np.linspace(0, 1, 8, dtype=np.float32)[None]
    for bits in (3, 8):
        made = QuantizeBoundary("t", bits, 0.0, 1.0)(model)
        step = 1 / (2**bits - 1)
        assert np.abs(made.run({"x": -t})["y"] + t).max() <= 0.5 * step + 1e-6


@pytest.mark.parametrize("source", ["made here", "cifar_base.onnx"])
def test_a_network_hardly_changes_at_any_of_its_cuts(source: str) -> None:
    given = small_network() if source == "made here" else shared(f"onnx/cifar10/{source}")
    model = splitc.load(given, simplify=False)
    (entry,) = model.graph.inputs
    feed = {entry.name: np.random.default_rng(0).random(entry.static_shape, np.float32)}
    (before,) = model.run(feed).values()
    points = cut_points(model.graph, "exact")[1:-1]
    for point in points[:: max(1, len(points) // 5)]:
        for bits, most in ((8, 0.03), (12, 0.003)):
            one = calibrate(QuantizeBoundary(point, bits), model, [feed])
            (after,) = one(model).run(feed).values()
            assert np.abs(after - before).max() <= most * np.ptp(before)


def test_an_opset_without_the_slice_that_odd_sizes_need_is_named() -> None:
    model = splitc.load(row_network(5, 9), simplify=False)
    with pytest.raises(UnsupportedOpError, match="opset 9 has no Slice.*\n.*sent"):
        QuantizeBoundary("t", 3, 0.0, 1.0)(model)


def test_calibration_finds_the_range_from_examples() -> None:
    model = splitc.load(row_network(4), simplify=False)
    rows = np.array([[0, 1, 2, 3], [-5, 1, 1, 1], [1, 1, 1, 9]], np.float32)
    one = QuantizeBoundary("t", bits=4)
    by_batch = calibrate(one, model, [{"x": rows}])
    assert (by_batch.low, by_batch.high, by_batch.bits) == (-9.0, 5.0, 4)
    one_by_one = calibrate(one, model, [{"x": row[None]} for row in rows])
    stacked = calibrate(one, model, [{"x": rows[:, None]}])
    assert by_batch == one_by_one == stacked == one.calibrated(model, [{"x": rows}])
    most = calibrate(one, model, [{"x": np.arange(1000, dtype=np.float32).reshape(250, 4)}], 90)
    assert (most.low, most.high) == pytest.approx((-999 + 49.95, -49.95))


def test_calibration_leaves_alone_what_is_told() -> None:
    given = QuantizeBoundary("t", low=0.0, high=2.0)
    model = splitc.load(row_network(4), simplify=False)
    assert given.calibrated(model, [{"x": np.ones((1, 4), np.float32)}]) is given
    stand_in = QuantizeBoundary("t", bits=3).calibrated(model, None)
    assert stand_in(model).cut is not None


BAD_EXAMPLES: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "no examples"),
    "another input": ({"z": np.zeros((1, 4), np.float32)}, "no array for input 'x'"),
    "another shape": ({"x": np.zeros((3, 5), np.float32)}, "'x' is 3x5\n.*takes 1x4"),
    "constant": ({"x": np.ones((2, 4), np.float32)}, "-1 everywhere"),
    "not finite": ({"x": np.full((1, 4), np.nan, np.float32)}, "not finite on the examples"),
}


@pytest.mark.parametrize("case", BAD_EXAMPLES)
def test_bad_examples_are_refused_by_name(case: str) -> None:
    batch, match = BAD_EXAMPLES[case]
    model = splitc.load(row_network(4), simplify=False)
    with pytest.raises(SplitcError, match=match):
        calibrate(QuantizeBoundary("t"), model, [batch] if batch else [])


NAN, INF = float("nan"), float("inf")
RANGES: dict[str, tuple[float, float, str]] = {
    "equal": (1.0, 1.0, "low 1 is not below high 1"),
    "reversed": (2.0, 1.0, "low 2 is not below high 1"),
    "NaN": (NAN, 1.0, "not finite"),
    "infinite": (0.0, INF, "not finite"),
    "too narrow for fp32": (1.0, 1.0 + 1e-12, "fp32 cannot divide"),
    "far from 0": (1e30, 1e30 + 1, "low 1e\\+30 is not below|fp32 cannot divide"),
    "beyond fp32": (-3e38, 3e38, "fp32 cannot divide"),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_range_that_cannot_be_divided_is_refused(case: str) -> None:
    low, high, match = RANGES[case]
    with pytest.raises(UsageError, match=match):
        QuantizeBoundary("pool", low=low, high=high)(splitc.load(small_network(), simplify=False))


@pytest.mark.parametrize("bits", [0, 17, -1, 2.5])
def test_bits_outside_1_to_16_are_refused(bits: int) -> None:
    one = dataclasses.replace(QuantizeBoundary("pool", low=0, high=1), bits=bits)
    with pytest.raises(UsageError, match=f"bits {bits} is not in 1 to 16"):
        one(splitc.load(small_network(), simplify=False))


def test_a_range_that_nothing_tells_is_asked_for() -> None:
    with pytest.raises(PassError, match="'p1' lies\n.*give low and high"):
        QuantizeBoundary("pool")(splitc.load(small_network(), simplify=False))


def test_levels_are_not_quantised_again() -> None:
    once = QuantizeBoundary("pool", low=0, high=1)(splitc.load(small_network(), simplify=False))
    with pytest.raises(IllegalCutError, match="'p1.levels' is uint8: only floating-point"):
        QuantizeBoundary(low=0, high=1)(once)
