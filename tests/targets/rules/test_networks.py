# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Whole small models through the rules: what they compute is what onnxruntime computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from splitc.errors import UnsupportedOpError
from tests.targets import nets
from tests.targets.nets import Net, assert_right, compiled, computed, wanted


def sweep(examples: int) -> settings:
    """Examples of a family, the same ones in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


@sweep(25)
@given(nets.convolutions())
def test_convolutions_of_any_stride_dilation_padding_and_groups(net: Net) -> None:
    assert_right(net)


@sweep(10)
@given(nets.convolutions(rank=3))
def test_convolutions_along_lines(net: Net) -> None:
    assert_right(net)


@sweep(20)
@given(st.integers(3, 4).flatmap(lambda rank: nets.transposed_convolutions(rank=rank)))
def test_transposed_convolutions(net: Net) -> None:
    assert_right(net)


@sweep(40)
@given(nets.epilogues())
def test_elementwise_steps_behind_kernels_and_alone(net: Net) -> None:
    assert_right(net, 5e-5)


@sweep(20)
@given(nets.poolings())
def test_poolings(net: Net) -> None:
    assert_right(net)


@sweep(25)
@given(nets.concatenations())
def test_concatenations_whose_parts_are_read_elsewhere_too(net: Net) -> None:
    assert_right(net)


@sweep(50)
@given(nets.movements())
def test_views_copies_and_slices_of_any_rank(net: Net) -> None:
    assert_right(net)


@sweep(30)
@given(nets.rearrangements())
def test_resizing_shuffling_and_padding_maps(net: Net) -> None:
    assert_right(net)


@sweep(40)
@given(nets.products())
def test_matrix_products_of_all_ranks(net: Net) -> None:
    assert_right(net)


@sweep(10)
@given(nets.attentions())
def test_attention(net: Net) -> None:
    assert_right(net)


@sweep(40)
@given(nets.normalisations())
def test_softmax_normalisations_and_reductions_over_any_axis(net: Net) -> None:
    try:
        assert_right(net, 5e-5)
    except UnsupportedOpError:
        assume(False)


@sweep(40)
@given(nets.types())
def test_other_types_scalars_and_empty_dimensions(net: Net) -> None:
    assert_right(net)


@sweep(40)
@given(nets.extremes())
def test_infinities_and_not_a_numbers_come_out_where_they_should(net: Net) -> None:
    assert_right(net)


def test_an_output_may_be_an_input_a_constant_or_given_twice() -> None:
    net = Net(0)
    x = net.input(1, 3, 4, 4)
    y = net.op("Relu", x)
    stored = net.op("Identity", np.arange(6, dtype=np.float32).reshape(2, 3))
    net.outputs = [net.op("Identity", x), stored, y, net.op("Identity", y)]
    assert_right(net)


def test_a_kernel_larger_than_the_map_reads_its_padding() -> None:
    net = Net(0)
    weights = net.random(5, 3, 7, 7)
    net.outputs = [net.op("Conv", net.input(2, 3, 3, 2), weights, pads=[3, 4, 2, 3])]
    assert_right(net)


def test_a_concatenation_holds_the_same_part_twice() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 3, 5, 5), net.random(4, 3, 1, 1))
    whole = net.op("Concat", y, net.op("Relu", y), y, axis=1)
    net.outputs = [net.op("Concat", whole, y, axis=1), whole]
    assert_right(net)


def test_what_a_sum_repeats_over_is_a_view_and_a_product_takes_it() -> None:
    net = Net(0)
    row = net.op("Expand", net.input(1, 1, 6), np.array([2, 4, 6], np.int64))
    net.outputs = [net.op("MatMul", row, net.random(6, 5)), net.op("Softmax", row, axis=-1)]
    assert_right(net)


def pooled(net: Net, x: str) -> str:
    """The largest elements of a region of a map: by TVM's loops."""
    region = np.array([[0, 0, 0, 3, 2]], np.float32)
    return net.op("MaxRoiPool", x, region, pooled_shape=[2, 2])


def test_an_operator_without_a_rule_is_listed_and_right() -> None:
    net = Net(0)
    net.outputs = [pooled(net, net.input(1, 2, 3, 5))]
    assert assert_right(net).fallbacks == ("vision.roi_pool",)


def test_an_operator_without_a_rule_leaves_the_others_their_rules() -> None:
    net = Net(0)
    net.outputs = [net.op("Relu", pooled(net, net.op("Exp", net.input(1, 2, 3, 5))))]
    code = assert_right(net)
    assert code.fallbacks == ("vision.roi_pool",)
    assert "map" in {kernel.rule for kernel in code.kernels}


def branched(net: Net, x: str) -> str:
    """Of a map, its positive part or the negative of it, as an input says."""
    kind = helper.make_tensor_value_info("r", TensorProto.FLOAT, net.shape(x))
    then, other = (
        helper.make_graph([helper.make_node(op, [x], ["r"])], op, [], [kind])
        for op in ("Relu", "Neg")
    )
    which = net.input(values=np.array(True))
    return net.op("If", which, then_branch=then, else_branch=other)


def test_both_branches_are_computed_and_one_is_chosen() -> None:
    net = Net(0)
    net.outputs = [branched(net, net.input(3, 5))]
    code = assert_right(net)
    assert not code.fallbacks
    assert "map" in {kernel.rule for kernel in code.kernels}


def test_a_norm_of_halves_beside_a_branch_gives_halves() -> None:
    net = Net(0)
    x, sides = net.input(1, 4, 5, 5), [net.random(4, dtype="float16") for _ in range(3)]
    half = net.op("Cast", x, to=TensorProto.FLOAT16)
    spread = net.positive(4).astype(np.float16)
    norm = net.op("BatchNormalization", half, *sides, spread)
    net.outputs = [branched(net, x), norm]
    assert_right(net)


@pytest.mark.parametrize("form", ["PRelu", "HardSwish", "Max", "Mean", "Softplus", "Pad", "Resize"])
def test_operators_of_vision_models_have_rules(form: str) -> None:
    net = Net(0)
    x = net.input(1, 4, 6, 6)
    args = {
        "PRelu": [net.random(4, 1, 1)],
        "Max": [net.input(1, 4, 6, 6)],
        "Mean": [net.input(1, 4, 6, 6)],
        "Pad": [np.array([0, 0, 1, 1, 0, 0, 1, 1])],
        "Resize": [None, None, np.array([1, 4, 9, 11])],
    }.get(form, [])
    attrs = {"Resize": {"mode": "linear"}, "Pad": {"mode": "reflect"}}.get(form, {})
    net.outputs = [net.op(form, x, *args, **attrs)]
    assert assert_right(net).fallbacks == ()


def test_a_compiled_model_gives_the_same_twice() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 8, 9, 9), net.random(8, 8, 3, 3), pads=[1, 1, 1, 1])
    net.outputs = [net.op("Concat", y, net.op("MaxPool", y, kernel_shape=[1, 1]), axis=1)]
    proto = net.proto()
    code = compiled(proto)
    first, second = (computed(code, proto, net.inputs)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, wanted(proto, net.inputs)[0], rtol=0, atol=1e-4)


def test_a_chain_of_activations_does_not_grow_with_its_depth() -> None:
    net = Net(0)
    y = net.input(2, 9)
    for _ in range(6):
        y = nets.UNARY["silu"](net, y)
    net.outputs = [y]
    assert len(assert_right(net).kernels) == 1


def test_a_repeated_tensor_beside_a_convolution_is_laid_out_first() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(3, 3, 3, 2), net.random(4, 3, 1, 1))
    net.outputs = [net.op("Max", y, net.input(3, 4, 1, 1))]
    assert_right(net)


def test_a_choice_times_a_number_in_every_lane_compiles() -> None:
    net = Net(0)
    x = net.input(2, 3, 8, 7)
    bent = net.op("PRelu", x, net.random(3, 1, 1))
    net.outputs = [net.op("Mul", net.op("Mul", x, bent), net.random(3, 1, 1))]
    assert_right(net)
