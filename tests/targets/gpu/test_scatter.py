# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Numbers put at places that are computed, by kernels of threads: as onnxruntime has it."""

from __future__ import annotations

from hypothesis import given

from tests.targets.gpu.device import assert_right, needs_opencl
from tests.targets.nets import Net
from tests.targets.rules.test_networks import sweep
from tests.targets.scatters import along, rows

pytestmark = needs_opencl

SHAPES = ((7, 5), (3, 4, 6), (300,), (2, 3, 1, 5))


@sweep(12)
@given(along(SHAPES))
def test_numbers_put_along_an_axis(net: Net) -> None:
    assert "scatter" in [kernel.rule for kernel in assert_right(net).kernels]


@sweep(12)
@given(rows(SHAPES))
def test_numbers_put_into_rows(net: Net) -> None:
    assert "scatter" in [kernel.rule for kernel in assert_right(net).kernels]
