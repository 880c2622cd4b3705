# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""ONNX networks as PyTorch networks: results, names, cuts, batches, weights and training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn  # noqa: E402

import splitc  # noqa: E402
from splitc import zoo  # noqa: E402
from splitc.bundle.golden import seeded_inputs  # noqa: E402
from splitc.errors import BadModelError, UnsupportedOpError  # noqa: E402
from splitc.frontend.convert import Node, converts  # noqa: E402
from splitc.frontend.onnx.model import OnnxModel  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.cut import Cut  # noqa: E402
from splitc.ir.printing import print_graph  # noqa: E402
from splitc_passes.training.insert_dropout import InsertDropout  # noqa: E402
from tests.frontend.convert.converting import assert_converts, cuts_of, error_of, one_node, weights  # noqa: E402
from tests.frontend.nets import model as plain_model  # noqa: E402
from tests.frontend.nets import value  # noqa: E402
from tests.frontend.splitting import assert_close, single  # noqa: E402
from tests.frontend.test_split_everywhere import (  # noqa: E402
    build,
    load_like_onnxruntime,
    read_file,
)
from tests.helpers import model_of, shared, small_network, two_headed_network  # noqa: E402


def assert_same_cuts(model: OnnxModel, made: TorchModel) -> None:
    """The cuts are ONNX's own, in order, but for those at what PyTorch has no layer for."""
    left, right = cuts_of(model.graph), cuts_of(made.graph)
    assert [cut for cut in left if cut[0] in made.graph.tensors] == right
    graph = model.graph
    for name, *_ in left:
        if name in made.graph.tensors:
            continue
        maker = graph.layers[graph.producer[name]]
        behind = {graph.layers[i].op for i in graph.readers[name]}
        assert maker.op in ("dropout", "identity") or behind == {"batchnormalization"}


@pytest.mark.parametrize("name", zoo.NAMES)
def test_a_zoo_network_computes_the_same_and_is_cut_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = splitc.load(build(name, tmp_path, monkeypatch), simplify=False)
    made = splitc.to_torch(model)
    feed = seeded_inputs(model.graph.inputs, 1)
    expected, got = model.run(feed), made.run(feed)
    print(f"{name}: relative error {error_of(got, expected):.1e}")
    assert_close(got, expected, 1e-5)
    assert_same_cuts(model, made)
    assert len(cuts_of(made.graph)) > 20


@pytest.mark.parametrize("name", ["inception_v2", "shufflenet"])
def test_a_simplified_network_is_the_same_layer_by_layer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = splitc.load(build(name, tmp_path, monkeypatch))
    made = splitc.to_torch(model)
    feed = seeded_inputs(model.graph.inputs, 1)
    assert_close(made.run(feed), model.run(feed), 1e-5)
    assert cuts_of(model.graph) == cuts_of(made.graph)
    folded = {layer.name for layer in model.graph.layers} - {x.name for x in made.graph.layers}
    assert {model.graph.layer(layer).op for layer in folded} <= {"batchnormalization"}
    if not folded:
        flops = [[layer.flops for layer in m.graph.layers] for m in (model, made)]
        assert flops[0] == flops[1]


FILES: dict[str, bool] = {
    "cifar10/cifar_base.onnx": True, "cifar10/cifar_wide_kw.onnx": True,
    "cifar10/resnet_3b2_bn_mixup_adv_4.0_bs128_lr-1.onnx": True,
    "detection/FastestDet.onnx": True, "detection/version-RFB-320.onnx": True,
    "segmentation/unet_simp_small.onnx": False, "vit/pgd_2_3_16.onnx": True,
    "misc/super_resolution.onnx": True, "misc/pensieve_small_parallel.onnx": False,
    "qonnx/model.onnx": True,
}  # fmt: skip
"""Real networks, and whether they take several samples at once."""


@pytest.mark.parametrize("file", FILES)
def test_a_real_network_computes_the_same(file: str) -> None:
    shared(f"onnx/{file}")
    proto = read_file(file)
    for entry in proto.graph.input:
        for dim in entry.type.tensor_type.shape.dim[:1]:
            dim.dim_value = max(dim.dim_value, 1)
    model = load_like_onnxruntime(proto, file, simplify=False)
    made = splitc.to_torch(model)
    feed = seeded_inputs(model.graph.inputs, 1)
    expected, got = model.run(feed), made.run(feed)
    print(f"{file}: relative error {error_of(got, expected):.1e}")
    assert_close(got, expected, 1e-5)
    if FILES[file]:
        assert_takes_batches(made)


def test_a_quantised_network_is_refused_by_name() -> None:
    shared("onnx/imagenet/shufflenet-v2-12-int8.onnx")
    file = "imagenet/shufflenet-v2-12-int8.onnx"
    model = load_like_onnxruntime(read_file(file), file, simplify=False)
    with pytest.raises(UnsupportedOpError, match="QLinearConv.*\n.*'Conv_4_quant'"):
        splitc.to_torch(model)


def assert_takes_batches(made: TorchModel, batch: int = 3) -> None:
    """A batch gives what its samples give one by one, for a network of one input."""
    shape = made.graph.inputs[0].static_shape
    samples = torch.randn(batch, *shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = made.module(samples)
        alone = [made.module(samples[k : k + 1]) for k in range(batch)]
    several = isinstance(whole, tuple)
    for k, result in enumerate(whole if several else (whole,)):
        parts = torch.cat([each[k] if several else each for each in alone])
        torch.testing.assert_close(result, parts, rtol=1e-4, atol=1e-5)


def attention_network(batch: int) -> ModelProto:
    """Attention as exporters write it: a class token, heads next to the samples, constants."""
    rng = np.random.default_rng(0)
    shapes: dict[str, Sequence[int]] = {
        "in": [6, batch * 2, 4], "split": [batch * 2, 6, 4], "out": [6, batch, 8],
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Concat", ["token", "x"], ["tokens"], "join", axis=1),
        node("Add", ["tokens", "place"], ["placed"], "place"),
        node("Transpose", ["placed"], ["turned"], "turn", perm=[1, 0, 2]),
        node("MatMul", ["turned", "wq"], ["q"], "query"),
        node("MatMul", ["turned", "wk"], ["k"], "key"),
        node("Reshape", ["q", "in"], ["qh"], "query_heads"),
        node("Reshape", ["k", "in"], ["kh"], "key_heads"),
        node("Transpose", ["qh"], ["qt"], "query_turn", perm=[1, 0, 2]),
        node("Transpose", ["kh"], ["kt"], "key_turn", perm=[1, 2, 0]),
        node("MatMul", ["qt", "kt"], ["scores"], "scores"),
        node("Softmax", ["scores"], ["shares"], "shares", axis=-1),
        node("MatMul", ["shares", "qt"], ["mixed"], "mix"),
        node("Transpose", ["mixed"], ["back"], "back", perm=[1, 0, 2]),
        node("Reshape", ["back", "out"], ["flat"], "flat"),
        node("Transpose", ["flat"], ["first"], "first", perm=[1, 0, 2]),
        node("Gather", ["first", "zero"], ["class"], "class", axis=1),
        node("Gemm", ["class", "w"], ["y"], "head"),
    ]
    stored = {
        **{name: np.array(shape, np.int64) for name, shape in shapes.items()},
        "zero": np.array(0, np.int64), "token": weights(rng, batch, 1, 8),
        "place": weights(rng, 1, 6, 8), "wq": weights(rng, 8, 8), "wk": weights(rng, 8, 8),
        "w": weights(rng, 8, 3),
    }  # fmt: skip
    stored["token"][:] = stored["token"][:1]
    return model_of(nodes, {"x": [batch, 5, 8]}, ["y"], stored)


def test_a_batch_of_any_size_goes_through_constant_shapes() -> None:
    _, made = assert_converts(attention_network(1))
    assert_takes_batches(made)
    assert {"token", "query.weight"} <= {name for name, _ in made.module.named_parameters()}


def test_a_batch_stands_next_to_the_heads_whatever_size_it_was_written_with() -> None:
    proto = attention_network(2)
    del proto.graph.node[0]  # a class token that is stored twice stays two
    proto.graph.node[0].input[0] = "x"
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 6
    _, made = assert_converts(proto)
    assert_takes_batches(made, 4)


def test_names_of_layers_tensors_inputs_and_results_stay() -> None:
    node = helper.make_node
    nodes = [
        node("Relu", ["self"], ["/a/b.1"], "forward"),
        node("Tanh", ["/a/b.1"], ["t"], "1st/layer"),
        node("Split", ["t"], ["left", "right"], "split", axis=1, num_outputs=2),
        node("Add", ["left", "right"], ["training"], "class"),
        node("Identity", ["training"], ["y"], "last"),
    ]
    proto = model_of(nodes, {"self": [2, 4]}, ["training", "y"], opset=18)
    model, made = assert_converts(proto)
    assert print_graph(made.graph) == print_graph(model.graph)
    for cut in single(made.graph):
        head, tail = made.split(cut)
        feed = seeded_inputs(made.graph.inputs, 1)
        sent = head.run(feed)
        assert_close({**sent, **tail.run({**feed, **sent})}, {**sent, **made.run(feed)}, 0)


@pytest.mark.parametrize("make", [small_network, two_headed_network])
def test_the_parts_of_both_models_compute_the_same(make: Any) -> None:
    model = splitc.load(make(), simplify=False)
    made = splitc.to_torch(model)
    assert print_graph(made.graph) == print_graph(model.graph)
    feed = seeded_inputs(model.graph.inputs, 1)
    for cut, own in zip(single(model.graph), single(made.graph), strict=True):
        head, tail = made.split(own)
        other, _ = model.split(cut)
        sent = other.run(feed)
        assert_close(head.run(feed), sent, 1e-5)
        assert_close({**sent, **tail.run({**feed, **sent})}, {**sent, **model.run(feed)}, 1e-5)


def test_a_chosen_cut_is_not_kept() -> None:
    model = splitc.load(small_network(), simplify=False)
    cut = Cut.after(model.graph, ["pool"])
    assert splitc.to_torch(model.with_cut(cut)).cut is None


def test_passes_work_on_a_converted_network() -> None:
    made = splitc.to_torch(splitc.load(training_network(), simplify=False))
    changed: Any = InsertDropout(cut="pool", loss_rate=0.5)(made)
    assert "p1.link_dropout" in changed.graph.index
    feed = seeded_inputs(made.graph.inputs, 1)
    assert_close(changed.run(feed), made.run(feed), 0)


def test_a_mean_of_neighbours_is_a_layer_though_it_keeps_the_shape() -> None:
    net = nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(4))
    graph = splitc.load(net, torch.zeros(1, 2, 4, 4)).graph
    assert [layer.op for layer in graph.layers] == ["input", "relu", "averagepool"]
    proto = one_node("AveragePool", {"x": [1, 2, 4, 4]}, kernel_shape=[3, 3], pads=[1] * 4)
    _, made = assert_converts(proto)
    assert [layer.flops for layer in made.graph.layers] == [0, 2 * 16 * 9]


def test_shape_arithmetic_is_no_layer() -> None:
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("Shape", ["r"], ["s"], "shape"),
        node("Gather", ["s", "zero"], ["n"], "n", axis=0),
        node("Unsqueeze", ["n"], ["n1"], "n1", axes=[0]),
        node("Concat", ["n1", "rest"], ["to"], "to", axis=0),
        node("Reshape", ["r", "to"], ["y"], "reshape"),
    ]
    stored = {"zero": np.array(0, np.int64), "rest": np.array([-1], np.int64)}
    _, made = assert_converts(model_of(nodes, {"x": [2, 3, 4]}, ["y"], stored, opset=11))
    assert [layer.name for layer in made.graph.layers] == ["x", "relu", "reshape"]
    assert made.module(torch.zeros(5, 3, 4)).shape == (5, 12)


def test_a_weight_that_two_layers_read_stays_one() -> None:
    w = weights(np.random.default_rng(0), 4, 4)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("MatMul", ["a", "w"], ["b"], "second"),
        helper.make_node("Gemm", ["b", "w"], ["y"], "third"),
    ]
    _, made = assert_converts(model_of(nodes, {"x": [2, 4]}, ["y"], {"w": w}))
    assert len(list(made.module.parameters())) == 1
    assert [layer.param_bytes for layer in made.graph.layers] == [0, 64, 0, 0]


def test_scales_and_biases_behind_weights_train_and_other_constants_do_not() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"], "centre"),
        helper.make_node("Mul", ["a", "spread"], ["b"], "scale"),
        helper.make_node("MatMul", ["b", "w"], ["c"], "product"),
        helper.make_node("Add", ["c", "bias"], ["d"], "shift"),
        helper.make_node("Add", ["d", "grid"], ["e"], "grid"),
        helper.make_node("Mul", ["e", "two"], ["y"], "double"),
    ]
    stored = {
        "mean": weights(rng, 4), "spread": weights(rng, 4), "w": weights(rng, 4, 6),
        "bias": weights(rng, 6), "grid": weights(rng, 3, 6), "two": np.array([2], np.float32),
    }  # fmt: skip
    _, made = assert_converts(model_of(nodes, {"x": [3, 4]}, ["y"], stored))
    assert {n for n, _ in made.module.named_parameters()} == {"product.weight", "bias"}
    assert [tuple(each.shape) for each in made.module.buffers()] == [(4,), (4,), (3, 6), (1,)]


def training_network() -> ModelProto:
    """Convolutions with batch norms, a dropout and a classifier, before any folding."""
    rng = np.random.default_rng(0)

    def norm(n: int, channels: int) -> dict[str, Any]:
        ones = np.ones(channels, np.float32)
        return {f"s{n}": ones, f"b{n}": 0 * ones, f"m{n}": 0 * ones, f"v{n}": ones}

    def names(n: int) -> list[str]:
        return [f"{kind}{n}" for kind in "sbmv"]

    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", *names(1)], ["n1"], "bn1", momentum=0.8, epsilon=1e-3),
        node("Relu", ["n1"], ["r1"], "relu1"),
        node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], "conv2"),
        node("BatchNormalization", ["c2", *names(2)], ["n2"], "bn2"),
        node("Relu", ["n2"], ["r2"], "relu2"),
        node("GlobalAveragePool", ["r2"], ["g"], "average"),
        node("Dropout", ["g"], ["d"], "drop"),
        node("Reshape", ["d", "flat"], ["f"], "flatten"),
        node("Gemm", ["f", "w3", "b3"], ["y"], "classifier", transB=1),
    ]
    stored = {
        "w1": weights(rng, 8, 3, 3, 3), "w2": weights(rng, 12, 8, 3, 3), "w3": weights(rng, 4, 12),
        "b3": weights(rng, 4), "flat": np.array([1, 12], np.int64), **norm(1, 8), **norm(2, 12),
    }  # fmt: skip
    return model_of(nodes, {"x": [1, 3, 10, 10]}, ["y"], stored)


def test_a_converted_network_is_fine_tuned() -> None:
    made = splitc.to_torch(splitc.load(training_network(), simplify=False))
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 4, (32,), generator=generator)
    images = torch.randn(32, 3, 10, 10, generator=generator) + targets.reshape(-1, 1, 1, 1)
    made.module.train()
    optimiser = torch.optim.Adam(made.module.parameters(), 1e-2)
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(12):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(made.module(images), targets)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    first = made.module.get_parameter("conv1.weight").grad
    assert first is not None
    assert float(first.abs().max()) > 0
    assert losses[-1] < 0.7 * losses[0]
    made.module.eval()
    assert_takes_batches(made)


def test_batch_norms_and_dropout_are_as_in_training() -> None:
    model = splitc.load(training_network(), simplify=False)
    made = splitc.to_torch(model)
    assert not any(m.training for m in made.module.modules())
    x = torch.randn(16, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    conv = made.module.get_submodule("conv1")
    mean = conv(x).mean((0, 2, 3)).detach()
    made.module.train()
    made.module(x)
    norm: Any = made.module.get_submodule("bn1")
    torch.testing.assert_close(norm.running_mean, 0.2 * mean, rtol=1e-4, atol=1e-6)
    assert norm.eps == pytest.approx(1e-3)
    drop: Any = made.module.get_submodule("drop")
    assert (drop.p, drop.training) == (0.5, True)
    # A batch norm behind a convolution is part of it, and dropout is no layer.
    ops = [layer.op for layer in made.graph.layers]
    assert not {"batchnormalization", "dropout"} & set(ops)
    assert_same_cuts(model, made)


def test_conversion_draws_nothing_and_shares_nothing() -> None:
    model = splitc.load(training_network(), simplify=False)
    state = torch.get_rng_state()
    one, other = splitc.to_torch(model), splitc.to_torch(model)
    assert torch.equal(state, torch.get_rng_state())
    assert one.digest == other.digest
    before = model.run(seeded_inputs(model.graph.inputs, 1))
    with torch.no_grad():
        one.module.get_parameter("conv1.weight").zero_()
    assert one.digest != other.digest
    assert_close(model.run(seeded_inputs(model.graph.inputs, 1)), before, 0)


def test_every_layer_that_cannot_be_converted_is_named() -> None:
    node = helper.make_node
    nodes = [
        node("NonZero", ["x"], ["n"], "where_not"),
        node("Cast", ["n"], ["nf"], "cast", to=1),
        node("AveragePool", ["x"], ["p"], "pool", kernel_shape=[2], dilations=[2]),
        node("Relu", ["p"], ["r"], "relu"),
        node("AveragePool", ["r"], ["q"], "pool_too", kernel_shape=[2], dilations=[2]),
        node("LpPool", ["q"], ["y"], "norm", kernel_shape=[2]),
    ]
    proto = model_of(nodes, {"x": [1, 2, 9]}, ["y", "nf"], opset=19)
    model = splitc.load(proto, simplify=False)
    with pytest.raises(UnsupportedOpError, match="AveragePool, LpPool, NonZero") as caught:
        splitc.to_torch(model)
    assert caught.value.at == (
        "NonZero: 'where_not'; AveragePool: 'pool', 'pool_too'; LpPool: 'norm'"
    )
    assert "no dilated average pooling" in caught.value.why


def test_an_attribute_that_nobody_knows_is_refused() -> None:
    proto = one_node("Relu", {"x": [3]})
    model = splitc.load(proto, simplify=False)
    model.proto.graph.node[0].attribute.append(helper.make_attribute("slant", 1.5))
    with pytest.raises(UnsupportedOpError, match="unknown attribute slant=1.5"):
        splitc.to_torch(model)


def test_a_constant_result_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], "relu"),
             helper.make_node("Shape", ["y"], ["s"], "shape")]  # fmt: skip
    proto = model_of(nodes, {"x": [2, 3]}, ["y", "s"])
    with pytest.raises(BadModelError, match="result 's' is a constant"):
        splitc.to_torch(splitc.load(proto, simplify=False))


def test_a_user_adds_a_converter() -> None:
    node = helper.make_node("Spread", ["x"], ["y"], "spread", domain="test.ops", by=3.0)
    proto = plain_model([node], [value("x", (2, 4))], [value("y", (2, 4))], domains=["test.ops"])
    model = splitc.load(proto, simplify=False)
    with pytest.raises(UnsupportedOpError, match="Spread: no converter"):
        splitc.to_torch(model)

    class Spread(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: Any) -> Any:
            return x * self.by

    @converts("Spread", domain="test.ops")
    def spread(node: Node) -> nn.Module:  # pyright: ignore[reportUnusedFunction]
        return Spread(node.attribute("by"))

    x = np.ones((2, 4), np.float32)
    assert_close(splitc.to_torch(model).run({"x": x}), {"y": 3 * x}, 1e-6)
