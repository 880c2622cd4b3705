# SPDX-License-Identifier: Apache-2.0
"""Choices, and what lies at computed places, by kernels of threads: as onnxruntime has them."""

from __future__ import annotations

from hypothesis import given

from tests.targets.gpu.device import assert_right, compiled, needs_opencl, run
from tests.targets.nets import Net, assert_same
from tests.targets.rules.test_choices import choices, remainders
from tests.targets.rules.test_gather import elements, gathers, rows
from tests.targets.rules.test_networks import sweep
from tests.targets.rules.test_operators import bits, reference, remainders_of_floats, triangles

pytestmark = needs_opencl


@sweep(12)
@given(choices())
def test_choices_of_one_type_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(8)
@given(remainders())
def test_quotients_and_remainders_of_integers_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(6)
@given(gathers() | elements() | rows())
def test_gathers_of_every_form(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(5)
@given(bits())
def test_operations_on_bits_are_onnxs(net: Net) -> None:
    code = compiled(net.proto())
    assert not code.fallbacks
    assert_same(run(code, *net.inputs.values()), reference(net))


@sweep(3)
@given(triangles())
def test_triangles_are_onnxruntimes(net: Net) -> None:
    assert not assert_right(net).fallbacks


def test_remainders_of_floats_are_onnxs() -> None:
    for floor in (False, True):
        net = remainders_of_floats("float32", floor)
        code = compiled(net.proto())
        assert not code.fallbacks
        assert_same(run(code, *net.inputs.values()), reference(net))
