# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Integers divided and shifted by every number: what numpy makes of them, and no dead process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import splitc
from splitc.cost.board import load_board
from splitc_targets.backend import TvmBackend
from splitc_targets.tvm import adapter
from tests.targets.nets import Array, Net, compiled, computed

SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")


def ends(dtype: str) -> Array:
    """The least and largest numbers of a type, and those about zero."""
    limits = np.iinfo(dtype)
    about = [-7, -3, -2, -1] if limits.min else []
    return np.array([limits.min, limits.max, limits.max // 2, *about, 0, 1, 2, 3, 7], dtype)


@np.vectorize(otypes=[object])
def quotient(x: int, y: int) -> int:
    """Towards zero, as Python's own integer; by zero 0."""
    return 0 if not y else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def truncated(x: Array, y: Array) -> Array:
    """The quotient of C: what does not fit wraps."""
    return (quotient(x.astype(object), y.astype(object)) % 2 ** (8 * x.itemsize)).astype(
        f"u{x.itemsize}"
    ).view(x.dtype)  # fmt: skip


OPERATORS: dict[str, tuple[dict[str, Any], Callable[[Array, Array], Array]]] = {
    "Div": ({}, truncated),
    "Mod": ({}, np.mod),
    "Mod of C": ({"fmod": 1}, np.fmod),
}


@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED])
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:overflow")
def test_integers_are_divided_by_every_integer(name: str, dtype: str) -> None:
    attributes, numpys = OPERATORS[name]
    x, y = ends(dtype)[:, None], ends(dtype)
    net = Net(0, 18)
    left = net.input(*x.shape, values=x, dtype=dtype)
    right = net.input(*y.shape, values=y, dtype=dtype)
    net.outputs = [net.op(name.split(maxsplit=1)[0], left, right, **attributes)]
    proto = net.proto()
    (got,) = computed(compiled(proto), proto, net.inputs)
    np.testing.assert_array_equal(got, numpys(x, y))


@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_integers_are_shifted_by_every_amount(direction: str, dtype: str) -> None:
    x, y = ends(dtype)[:, None], np.append(np.arange(0, 70, 3), [8, 16, 31, 32, 64]).astype(dtype)
    net = Net(0, 18)
    left = net.input(*x.shape, values=x, dtype=dtype)
    right = net.input(*y.shape, values=y, dtype=dtype)
    net.outputs = [net.op("BitShift", left, right, direction=direction)]
    proto = net.proto()
    (got,) = computed(compiled(proto), proto, net.inputs)
    np.testing.assert_array_equal(
        got, (np.left_shift if direction == "LEFT" else np.right_shift)(x, y)
    )


def test_a_number_without_axes_is_divided() -> None:
    net = Net(0, 18)
    left = net.input(values=np.array(7, np.int32), dtype="int32")
    right = net.input(values=np.array(0, np.int32), dtype="int32")
    net.outputs = [net.op("Div", left, right), net.op("Mod", left, net.op("Neg", left))]
    proto = net.proto()
    assert [int(each) for each in computed(compiled(proto), proto, net.inputs)] == [0, 0]


def test_a_stored_divisor_without_zeros_divides_as_it_is() -> None:
    net = Net(0, 18)
    x = net.input(6, values=np.arange(6, dtype=np.int32), dtype="int32")
    net.outputs = [
        net.op(
            "Mod", net.op("Div", x, np.array([2, 3, 4, 5, 6, 7], np.int32)), np.array(3, np.int32)
        )
    ]
    lowered = adapter.lower(net.proto())
    assert "R.divide" in str(lowered)
    assert "call_tir" not in str(lowered)


class Calls(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            torch.remainder(x, y), torch.fmod(x, y), torch.floor_divide(x, y),
            torch.div(x, y, rounding_mode="trunc"), torch.div(x, y, rounding_mode="floor"),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:overflow")
def test_pytorch_divides_integers_by_every_integer(dtype: str) -> None:
    kind = getattr(torch, dtype)
    model = splitc.load(Calls(), (torch.ones(12, 1, dtype=kind), torch.ones(12, dtype=kind)))
    backend = TvmBackend()
    code = backend.compile(backend.lower(model), load_board("host"))
    x, y = ends(dtype)[:, None], ends(dtype)
    got = code.here()(x, y)
    wanted = (
        np.mod(x, y),
        np.fmod(x, y),
        np.floor_divide(x, y),
        truncated(x, y),
        np.floor_divide(x, y),
    )
    for ours, numpys in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, numpys)
