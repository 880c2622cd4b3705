# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Softmax, normalisations along rows and across channels against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from splitc_targets.kernels import rows
from tests.targets.kernels.alone import (
    BOARDS,
    KINDS,
    assert_close,
    machine,
    numbers,
    reference,
    run,
)

SWEEP = settings(deadline=None, max_examples=15)
COLUMNS = st.sampled_from((1, 2, 3, 7, 16, 17, 49, 64, 97, 131, 1000))


@pytest.mark.parametrize("board", BOARDS)
@SWEEP
@given(st.integers(1, 9), COLUMNS, st.sampled_from(KINDS), st.booleans(), st.integers(0, 9))
def test_softmax_is_onnxruntimes(
    board: str, count: int, columns: int, kind: str, log: bool, seed: int
) -> None:
    x = numbers(seed, kind, count, columns)
    spec = rows.Softmax(count, columns, columns, columns, log)
    got = run(rows.softmax("k", spec, machine(board)), board, [x], x.size).reshape(x.shape)
    node = helper.make_node("LogSoftmax" if log else "Softmax", ["x"], ["y"], axis=-1)
    assert_close(got, reference([node], {"x": x}, {}))


@pytest.mark.parametrize("board", BOARDS)
@SWEEP
@given(st.integers(1, 9), COLUMNS, st.booleans(), st.booleans(), st.integers(0, 9))
def test_layer_norm_is_onnxruntimes(
    board: str, count: int, columns: int, shift: bool, far: bool, seed: int
) -> None:
    x = numbers(seed, "plain", count, columns) + np.float32(100 * far)
    w, b = numbers(seed + 1, "plain", columns), numbers(seed + 2, "plain", columns)
    spec = rows.Norm(count, columns, columns, columns, 1e-5, shift=shift)
    given_ = [x, w, b] if shift else [x, w]
    got = run(rows.norm("k", spec, machine(board)), board, given_, x.size).reshape(x.shape)
    names = ["x", "w", "b"] if shift else ["x", "w"]
    node = helper.make_node("LayerNormalization", names, ["y"], epsilon=1e-5)
    want = reference([node], {"x": x}, dict(zip(names[1:], given_[1:], strict=True)))
    # Far from zero the mean's rounding error is as large as 100 values' rounding errors.
    assert_close(got, want, ulps=2000 if far else 32)


@pytest.mark.parametrize("board", BOARDS)
@SWEEP
@given(st.integers(1, 9), COLUMNS, st.integers(0, 9))
def test_root_mean_square_norm_is_its_formula(
    board: str, count: int, columns: int, seed: int
) -> None:
    x, w = numbers(seed, "plain", count, columns), numbers(seed + 1, "plain", columns)
    spec = rows.Norm(count, columns, columns, columns, 1e-6, centred=False, shift=False)
    got = run(rows.norm("k", spec, machine(board)), board, [x, w], x.size).reshape(x.shape)
    wide = x.astype(np.float64)
    want = wide / np.sqrt((wide**2).mean(1, keepdims=True) + 1e-6) * w
    assert_close(got, want.astype(np.float32))


@pytest.mark.parametrize("board", BOARDS)
@SWEEP
@given(
    st.integers(1, 19), st.sampled_from((1, 3, 16, 21, 96)), st.sampled_from((1, 3, 5, 7)),
    st.sampled_from((0.5, 0.75, 1.0)), st.sampled_from(("plain", "tiny", "negative")),
    st.integers(0, 9),
)  # fmt: skip
def test_normalisation_across_channels_is_onnxruntimes(
    board: str, pixels: int, channels: int, size: int, beta: float, kind: str, seed: int
) -> None:
    x = numbers(seed, kind, pixels, channels)
    spec = rows.Lrn(pixels, channels, channels, channels, size, 0.3, beta, 2.0)
    made = rows.lrn("k", spec, machine(board))
    got = run(made, board, [x], x.size).reshape(x.shape)
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.3, beta=beta, bias=2.0)
    want = reference([node], {"x": x[:, :, None, None]}, {})
    assert_close(got, want[:, :, 0, 0])


def test_no_rule_fits_another_exponent() -> None:
    assert rows.lrn("k", rows.Lrn(4, 8, 8, 8, 5, beta=0.6), machine("x86-64-v3")) is None
