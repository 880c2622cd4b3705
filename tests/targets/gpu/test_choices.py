# SPDX-License-Identifier: Apache-2.0
"""Choices, and what lies at computed places, by kernels of threads: as onnxruntime has them."""

from __future__ import annotations

from hypothesis import given

from tests.targets.gpu.device import assert_right, needs_opencl
from tests.targets.nets import Net
from tests.targets.rules.test_choices import choices, remainders
from tests.targets.rules.test_gather import elements, gathers, rows
from tests.targets.rules.test_networks import sweep

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
