# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Small models on OpenCL's device: what its kernels compute is what onnxruntime computes."""

from __future__ import annotations

from hypothesis import assume, given

from splitc.errors import UnsupportedOpError
from splitc_targets.tvm.adapter import CannotRun
from splitc_targets.tvm.reader import NotReadable
from tests.targets import nets
from tests.targets.gpu.device import assert_right, needs_opencl
from tests.targets.nets import Net
from tests.targets.rules.test_networks import sweep

pytestmark = needs_opencl


def _right_or_refused(net: Net, rtol: float = 2e-5) -> None:
    try:
        assert_right(net, rtol)
    except (UnsupportedOpError, NotReadable, CannotRun):
        assume(False)


@sweep(20)
@given(nets.convolutions())
def test_convolutions_of_any_stride_dilation_padding_and_groups(net: Net) -> None:
    assert_right(net)


@sweep(6)
@given(nets.convolutions(rank=3))
def test_convolutions_along_lines(net: Net) -> None:
    assert_right(net)


@sweep(6)
@given(nets.transposed_convolutions())
def test_transposed_convolutions(net: Net) -> None:
    assert_right(net)


@sweep(20)
@given(nets.epilogues())
def test_elementwise_steps_behind_kernels_and_alone(net: Net) -> None:
    assert_right(net, 5e-5)


@sweep(12)
@given(nets.poolings())
def test_poolings(net: Net) -> None:
    assert_right(net)


@sweep(8)
@given(nets.concatenations())
def test_concatenations_whose_parts_are_read_elsewhere_too(net: Net) -> None:
    assert_right(net)


@sweep(12)
@given(nets.movements())
def test_views_copies_and_slices_of_any_rank(net: Net) -> None:
    assert_right(net)


@sweep(10)
@given(nets.rearrangements())
def test_resizing_shuffling_and_padding_maps(net: Net) -> None:
    assert_right(net)


@sweep(20)
@given(nets.products())
def test_matrix_products_of_all_ranks(net: Net) -> None:
    assert_right(net)


@sweep(6)
@given(nets.attentions())
def test_attention(net: Net) -> None:
    assert_right(net)


@sweep(15)
@given(nets.normalisations())
def test_normalisations_softmax_and_reductions(net: Net) -> None:
    _right_or_refused(net, 5e-5)


@sweep(15)
@given(nets.types())
def test_other_types_scalars_and_empty_dimensions(net: Net) -> None:
    _right_or_refused(net)


@sweep(15)
@given(nets.extremes())
def test_infinities_and_not_a_numbers_come_out_where_they_should(net: Net) -> None:
    assert_right(net)
