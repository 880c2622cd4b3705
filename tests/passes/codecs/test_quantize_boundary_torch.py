# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The pass `quantize-boundary` on PyTorch networks: the same text and bits, training, types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from onnx import helper  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc_passes.analyses.group_blocks import cut_points  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.codecs.quantize_boundary import QuantizeBoundary  # noqa: E402
from splitc_passes.codecs.value_range import calibrate  # noqa: E402
from splitc_passes.layers import arithmetic  # noqa: E402
from splitc_passes.training.insert_dropout import InsertDropout  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402
from tests.helpers import model_of  # noqa: E402

BITS = {name: 1 + k for k, name in enumerate(NETS)}


@pytest.mark.parametrize("name", NETS)
def test_graph_and_module_are_rewritten_alike(name: str) -> None:
    model = splitc.load(build(name), example())
    points = [p for p in cut_points(model.graph, "exact") if len(model.graph.layer(p).outputs) == 1]
    one = QuantizeBoundary(points[len(points) // 2], BITS[name], -1.0, 3.0)
    made = one(model)
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
    assert made.cut is not None
    (crossing,) = made.cut.boundary
    elements = model.graph.layer(one.cut).outputs[0].elements or 0
    assert (crossing.dtype, crossing.elements) == ("uint8", -(-one.bits * elements // 8))


class Row(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.negative(torch.tanh(torch.neg(x)))


def quantised(bits: int, shape: tuple[int, ...], dtype: Any = torch.float32) -> splitc.TorchModel:
    model = splitc.load(Row(), torch.zeros(shape, dtype=dtype))
    return QuantizeBoundary("tanh", bits, -1.0, 1.0)(model)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (2, 4, 6)])
def test_torch_and_onnxruntime_send_the_same_bytes(bits: int, shape: tuple[int, ...]) -> None:
    proto = model_of(
        [
            helper.make_node("Neg", ["x"], ["neg"], "neg"),
            helper.make_node("Tanh", ["neg"], ["tanh"], "tanh"),
            helper.make_node("Neg", ["tanh"], ["y"], "y"),
        ],
        {"x": shape},
        ["y"],
    )
    left = quantised(bits, shape)
    right = QuantizeBoundary("tanh", bits, -1.0, 1.0)(splitc.load(proto, simplify=False))
    text = str(left.graph).replace("%negative = negative", "%y = neg")
    assert text == str(right.graph)
    top = 2**bits - 1
    rng = np.random.default_rng(bits)
    levels = rng.integers(1, max(top, 2), shape) + rng.uniform(-0.4, 0.4, shape)
    x = -np.arctanh(np.clip(2 * levels / top - 1, -0.9999, 0.9999)).astype(np.float32)
    assert left.cut is not None and right.cut is not None
    sent = [made.split(made.cut)[0].run({"x": x}) for made in (left, right) if made.cut]
    np.testing.assert_array_equal(sent[0]["tanh.levels"], sent[1]["tanh.levels"])
    np.testing.assert_allclose(
        left.run({"x": x})["negative"], right.run({"x": x})["y"], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_packed_as_exactly(dtype: Any) -> None:
    made = quantised(11, (1, 9), dtype)
    assert made.cut is not None
    assert made.cut.boundary_bytes == 13
    module = made.module
    x = torch.linspace(-0.4, 0.4, 9, dtype=dtype)[None]
    with torch.no_grad():
        got = module(x)
    assert got.dtype == dtype
    step = 2 / (2**11 - 1)
    rounding = torch.finfo(dtype).eps
    assert (got - torch.tanh(x)).abs().max().item() <= 0.5 * step + rounding
    kinds = {each.dtype for each in module.buffers() if each.dtype.is_floating_point}
    assert kinds == {torch.float32}


@pytest.mark.parametrize("bits", [3, 8, 16])
def test_training_rounds_and_lets_the_gradient_through(bits: int) -> None:
    made = quantised(bits, (1, 3, 5))
    made.module.train()
    x = torch.linspace(-2, 2, 60).reshape(4, 3, 5).requires_grad_()
    out = made.module(x)
    with torch.no_grad():
        made.module.eval()
        torch.testing.assert_close(out, made.module(x))
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 1 - torch.tanh(x.detach()) ** 2)


def test_no_gradient_comes_from_outside_the_range() -> None:
    model = splitc.load(Row(), torch.zeros(1, 3))
    made = QuantizeBoundary("tanh", 4, -0.5, 0.5)(model)
    x = torch.tensor([[-2.0, 0.1, 2.0]], requires_grad=True)
    made.module(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).tolist() == [[False, True, False]]


@pytest.mark.parametrize("bits", [5, 8])
def test_a_tail_is_trained_behind_a_frozen_head_on_what_really_crosses(bits: int) -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    net[0].requires_grad_(False)
    made = QuantizeBoundary("1", bits, -1.0, 1.0)(splitc.load(net, torch.zeros(1, 6)))
    made.module.train()
    x = torch.linspace(-1, 1, 18).reshape(3, 6)
    made.module(x).sum().backward()
    weight = net[2].weight.grad
    assert weight is not None
    restored = net[1](net[0](x))
    top = 2**bits - 1
    restored = ((restored + 1) / 2 * top + 0.5).floor() / top * 2 - 1
    torch.testing.assert_close(weight, restored.sum(0).expand(2, -1))


def test_batches_of_any_size_go_through() -> None:
    for bits in (3, 8, 12):
        made = quantised(bits, (1, 3, 5))
        x = torch.linspace(-1, 1, 90).reshape(6, 3, 5)
        with torch.no_grad():
            whole = made.module(x)
            one_by_one = torch.cat([made.module(x[i : i + 1]) for i in range(6)])
        torch.testing.assert_close(whole, one_by_one, rtol=0, atol=0)


def test_packing_is_exact_where_products_would_run_in_half_precision() -> None:
    made = quantised(13, (1, 11))
    x = torch.linspace(-1, 1, 11)[None]
    with torch.no_grad():
        plain = made.module(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(made.module(x), plain, rtol=0, atol=0)


def test_constants_stay_what_they_are_when_the_network_changes_type() -> None:
    layer = arithmetic.Times(65535.0).half()
    assert layer.number.dtype == torch.float32
    assert layer.number.item() == 65535.0
    assert not layer.state_dict()


def test_calibration_reads_the_module() -> None:
    model = splitc.load(build("vgg"), example())
    point = cut_points(model.graph, "exact")[3]
    feed = {model.graph.inputs[0].name: example().numpy()}
    one = calibrate(QuantizeBoundary(point, 12), model, [feed])
    head, _ = model.split(splitc.Cut.after(model.graph, [point]))
    (values,) = head.run(feed).values()
    assert (one.low, one.high) == (values.min(), values.max())
    name = model.graph.outputs[0]
    after, before = one(model).run(feed)[name], model.run(feed)[name]
    assert np.abs(after - before).max() < 1e-2 * np.ptp(before)


def test_dropout_acts_on_what_the_levels_stand_for() -> None:
    model = splitc.load(build("resnet-b"), example())
    pipeline = splitc.Pipeline.parse(
        'insert-dropout(cut="layer1.1.relu.2", loss_rate=0.5), quantize-boundary(bits=4, low=0.0,'
        " high=6.0)"
    )
    made = pipeline(model)
    assert str(made.graph) == str(pipeline(splitc.GraphModel(model.graph)).graph)
    tensor = "layer1.1.relu.2"
    assert made.graph.layer(f"{tensor}.link_dropout").inputs == (f"{tensor}.restored",)
    assert made.cut is not None
    assert made.cut.name == f"{tensor}.levels"
    with pytest.raises(splitc.errors.SplitcError, match="is uint8: only floating-point"):
        InsertDropout()(made)


def test_a_codecs_floats_are_quantised_to_fewer_bits() -> None:
    model = splitc.load(build("resnet-b"), example())
    pipeline = splitc.Pipeline((
        InsertBottleneck(channels=3, cut="layer1.1.relu.2", bits=32, channel="awgn"),
        QuantizeBoundary(bits=3),
    ))  # fmt: skip
    made = pipeline(model)
    code = model.graph.tensors["layer1.1.relu.2"].static_shape
    elements = 3 * -(-code[2] // 2) * -(-code[3] // 2)
    assert made.cut is not None
    assert made.cut.boundary_bytes == -(-3 * elements // 8)
    made.module.train()
    made.module(example()).sum().backward()
    encoder = made.module.get_submodule("link.layer1_1_relu_2.encoder")
    gradients = [weight.grad for weight in encoder.parameters()]
    assert all(each is not None and each.abs().sum() > 0 for each in gradients)
