# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""How modules are written: in place, with tuples, constants, state; all read as they compute."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, fx, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import BadModelError  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.cut import Cut  # noqa: E402
from tests.frontend.torch.nets import build, example  # noqa: E402

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
TOKENS = X[..., :4].reshape(2, 12, 8)


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@dataclass
class Result:
    first: Tensor
    second: Tensor


def flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, Result):
        value = [value.first, value.second]
    return [tensor for each in value for tensor in flat(each)]


def array(tensor: Tensor) -> Any:
    return tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def assert_reads_as_it_computes(net: nn.Module, *examples: Tensor) -> TorchModel:
    """The module's bits from the whole, and from tail after head at every cut."""
    with torch.no_grad():
        expected = [array(t) for t in flat(net(*(x.clone() for x in examples)))]
    model = splitc.load(net, examples)
    feed = {t.name: x.numpy() for t, x in zip(model.graph.inputs, examples, strict=True)}
    whole = model.run(feed)
    got = [whole[name] for name in model.layers.names]
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine.astype(theirs.dtype), theirs)
    for layer in model.graph.layers[model.graph.input_count :]:
        cut = Cut.after(model.graph, [layer.name])
        if cut.why_not() is not None:
            continue
        head, tail = model.split(cut)
        sent = head.run(feed)
        parts = {**sent, **tail.run({**feed, **sent})}
        for name, value in whole.items():
            np.testing.assert_array_equal(parts[name], value, err_msg=f"{name} cut at {cut.name}")
    return model


class Through(nn.Module):
    """A module of a function."""

    def __init__(self, function: Any, **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def part_in_place(_: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 0].add_(1)
    return y.relu()


def assigned(_: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 0] = 5.0
    return y.relu()


def view_first(_: Any, x: Tensor) -> Tensor:
    y = x * 2
    view = y.view(2, -1)
    y.mul_(3)
    return view.relu()


def given_out(_: Any, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    torch.add(x, 1, out=y)
    return y * 2


def shape_in_place(_: Any, x: Tensor) -> Tensor:
    y = x.relu()
    return y.unsqueeze_(0).tanh()


IN_PLACE = (part_in_place, assigned, view_first, given_out, shape_in_place)


@pytest.mark.parametrize("function", IN_PLACE, ids=lambda f: f.__name__)
def test_what_is_changed_under_another_name_is_read_as_changed(function: Any) -> None:
    model = assert_reads_as_it_computes(Through(function).eval(), X)
    assert "torch.export" in model.note


def test_a_graph_module_that_assigns_a_part_is_read_as_it_computes() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    y = graph.call_method("clone", (x,))
    part = graph.call_method("select", (y, 1, 0))
    graph.call_method("add_", (part, 1))
    graph.output(graph.call_method("relu", (y,)))
    assert_reads_as_it_computes(fx.GraphModule(nn.Module(), graph).eval(), X)


TUPLES: dict[str, tuple[Any, list[str]]] = {
    "the last": (lambda _, x: x.chunk(2, 1)[-1].relu() * 2, ["split", "relu", "mul"]),
    "joined": (lambda _, x: torch.cat(x.relu().chunk(2, 1)).tanh(),
               ["relu", "split", "concat", "tanh"]),
    "a part of them": (lambda _, x: torch.stack(x.unbind(1)[::2]).tanh(),
                       ["split", "concat", "tanh"]),
    "by name": (lambda _, x: x.relu().max(1).values * 2, ["relu", "max", "mul"]),
    "taken twice": (lambda _, x: torch.relu(x).max(1)[0] + x.relu().max(1)[0],
                    ["relu", "max", "relu", "max", "add"]),
    "turned": (lambda _, x: x.flatten(1) @ x.flatten(1).T,
               ["flatten", "flatten", "transpose", "matmul"]),
}  # fmt: skip


@pytest.mark.parametrize("what", TUPLES)
def test_elements_of_tuples_are_edges_of_their_own(what: str) -> None:
    function, ops = TUPLES[what]
    model = assert_reads_as_it_computes(Through(function).eval(), X)
    assert [layer.op for layer in model.graph.layers[1:]] == ops


def test_two_readers_of_an_element_read_one_tensor() -> None:
    def function(_: Any, x: Tensor) -> Tensor:
        parts = x.chunk(2, 1)
        return parts[0].relu() + parts[0].tanh() + parts[1]

    model = assert_reads_as_it_computes(Through(function).eval(), X)
    assert model.graph.readers["chunk.0"] == (2, 3)
    assert len(model.layers.nodes["chunk.0"]) == 1


class States(nn.Module):
    """Two recurrent layers, the second beginning where the first ended."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(8, 8, batch_first=True)
        self.second = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.first(x)
        y, (hidden, cell) = self.second(y, state)
        return hidden[-1] + cell[0]


def test_states_of_recurrent_layers_cross() -> None:
    model = assert_reads_as_it_computes(States().eval(), TOKENS)
    assert model.graph.layer("second").inputs == ("first.0", "first.1.0", "first.1.1")


@pytest.mark.parametrize("wrap", [False, True])
def test_a_recurrent_layer_multiplies_by_its_matrices_at_each_step(wrap: bool) -> None:
    lstm: nn.Module = nn.LSTM(8, 16, num_layers=2, batch_first=True)
    model = splitc.load(nn.Sequential(lstm) if wrap else lstm, torch.randn(3, 5, 8))
    layer = model.graph.layers[-1]
    assert (layer.op, layer.kind) == ("lstm", "recurrent")
    assert layer.flops == 2 * 15 * 4 * 16 * ((8 + 16) + (16 + 16))


RESULTS: dict[str, Any] = {
    "data class": lambda _, x: Result(x.relu(), x.tanh()),
    "named tuple": lambda _, x: Pair(x.relu(), x.tanh()),
    "ordered dict": lambda _, x: OrderedDict(a=x.relu(), b=(x.tanh(), x.sigmoid())),
    "tuple of a function": lambda _, x: x.relu().max(1),
    "the input too": lambda _, x: (x, x.relu(), x.relu().tanh()),
    "one twice": lambda _, x: (y := x.relu(), y, y.tanh()),
}


@pytest.mark.parametrize("what", RESULTS)
def test_results_come_in_any_container(what: str) -> None:
    assert_reads_as_it_computes(Through(RESULTS[what]).eval(), X)


class Optional(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        x = x if mask is None else x + 100 * mask
        return torch.relu(x) if scale is None else torch.relu(x) * scale


@pytest.mark.parametrize("traced", [False, True])
def test_an_argument_may_keep_its_default_before_one_that_is_given(traced: bool) -> None:
    net: nn.Module = Optional().eval()
    if traced:
        net = fx.GraphModule(net, splitc.load(net, {"x": X, "scale": X}).module.graph)
    model = splitc.load(net, {"scale": X, "x": X})
    feed = {"x": X.numpy(), "scale": 2 * X.numpy()}
    expected = (torch.relu(X) * 2 * X).numpy()
    np.testing.assert_array_equal(next(iter(model.run(feed).values())), expected)


def test_constants_that_forward_makes_are_no_layers_and_no_weights_to_load() -> None:
    net = Through(
        lambda m, x: m.table(torch.arange(x.shape[3])) + x + torch.zeros(1, 1, 1, 6) + m.plain,
        table=nn.Embedding(10, 6), plain=torch.ones(6),
    ).eval()  # fmt: skip
    net.register_buffer("position", torch.ones(6), persistent=False)
    model = assert_reads_as_it_computes(net, X)
    assert model.note == ""
    assert [layer.op for layer in model.graph.layers] == ["input", "add", "add", "add"]
    assert set(model.module.state_dict()) == set(net.state_dict())
    assert model.graph.layers[1].param_bytes == 4 * 60 + 8 * 6


def test_buffers_that_are_not_saved_are_part_of_the_digest() -> None:
    net = Through(lambda m, x: x.relu() + m.position)
    net.register_buffer("position", torch.ones(6), persistent=False)
    model = splitc.load(net.eval(), X)
    assert "position" not in model.module.state_dict()
    before = model.digest
    assert splitc.load(net, X).digest == before
    net.get_buffer("position").add_(1)
    assert model.digest != before
    parts = model.split(Cut.after(model.graph, ["relu"]))
    assert all("position" not in part.module.state_dict() for part in parts)


def test_a_layer_of_stored_values_alone_counts_with_its_reader() -> None:
    query = nn.Parameter(torch.ones(1, 6))
    net = Through(lambda m, x: x * m.fc(m.query), fc=nn.Linear(6, 6), query=query).eval()
    model = assert_reads_as_it_computes(net, X)
    assert [layer.param_bytes for layer in model.graph.layers] == [0, 4 * (6 + 36 + 6)]


def test_a_parametrised_convolution_is_one() -> None:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
    model = assert_reads_as_it_computes(nn.Sequential(conv, nn.BatchNorm2d(4)).eval(), X)
    plain = splitc.load(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)).eval(), X)
    shown = [[(x.op, x.kind, x.flops) for x in m.graph.layers] for m in (model, plain)]
    assert shown[0] == shown[1]


class NormedAndActivated(nn.BatchNorm2d):
    """A batch norm of a library's own that calls PyTorch's function."""

    def forward(self, input: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        mode = self.training or mean is None
        return F.relu(F.batch_norm(input, mean, var, self.weight, self.bias, mode, 0.1))


def test_a_functional_batch_norm_is_folded_and_trains_as_the_source_does() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), NormedAndActivated(4))
    source = copy.deepcopy(net).train()
    model = assert_reads_as_it_computes(net.eval(), X)
    assert [layer.op for layer in model.graph.layers] == ["input", "conv", "relu"]
    assert torch.equal(model.module.train()(X), source(X))
    norms = [each.get_submodule("1") for each in (net, source)]
    assert torch.equal(norms[0].running_mean, norms[1].running_mean)  # type: ignore[arg-type]
    assert norms[0].running_mean.abs().sum() > 0  # type: ignore[union-attr, operator]


def test_functional_dropout_of_channels_drops_channels() -> None:
    net = Through(lambda m, x: F.dropout2d(x.relu(), 0.5, training=m.training)).train()
    model = splitc.load(net, X)
    assert [layer.op for layer in model.graph.layers] == ["input", "relu"]
    dropped = (model.module(torch.ones(8, 64, 3, 3)) == 0).flatten(2).float().mean(2)
    assert set(dropped.unique().tolist()) == {0.0, 1.0}
    model.module.eval()
    assert torch.equal(model.module(X), X.relu())


def test_a_batch_norm_of_the_batch_alone_stays_one_in_eval_mode() -> None:
    net = Through(lambda _, x: F.batch_norm(x.relu(), None, None, training=True)).eval()
    assert_reads_as_it_computes(net, X)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_half_precision_run_and_split(dtype: Any) -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).to(dtype).eval()
    model = splitc.load(net, X.to(dtype))
    name = str(dtype).removeprefix("torch.")
    bits = X.to(dtype).view(torch.int16).numpy()
    feed = {model.graph.inputs[0].name: bits.view(np.dtype(name))}
    with torch.no_grad():
        expected = net(X.to(dtype)).view(torch.int16).numpy()
    whole = model.run(feed)["2"]
    assert whole.dtype.name == name
    np.testing.assert_array_equal(whole.view(np.int16), expected)
    head, tail = model.split(Cut.after(model.graph, ["1"]))
    np.testing.assert_array_equal(tail.run(head.run(feed))["2"].view(np.int16), expected)


def test_a_tensor_that_lies_turned_crosses_and_rounds_the_same() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 16, 3), Through(lambda _, x: x.permute(0, 2, 3, 1)), nn.LayerNorm(16),
        Through(lambda _, x: x.permute(0, 3, 1, 2)), nn.Conv2d(16, 16, 2, 2), nn.Conv2d(16, 9, 1),
    )  # fmt: skip
    assert_reads_as_it_computes(net.eval(), X)
    assert_reads_as_it_computes(net.eval(), X.to(memory_format=torch.channels_last))


class Remembering(nn.Module):
    """Keeps what it saw, and sets up hooks, at its first run."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.seen: list[Tensor] = []
        self.kept: dict[str, Tensor] = {}
        self.last: Tensor | None = None
        self.ready = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.ready = True
            self.act.register_forward_hook(lambda *args: args[-1] + 1)
        y: Tensor = self.act(x)
        self.seen.append(y)
        self.kept["last"] = self.last = y
        return y * len(self.seen)


def test_reading_leaves_a_module_as_it_was() -> None:
    net = Remembering().eval()
    model = splitc.load(net, X)
    assert (net.seen, net.kept, net.last, net.ready) == ([], {}, None, False)
    assert torch.equal(net(X), X.relu() + 1)
    assert [layer.op for layer in model.graph.layers][:2] == ["input", "relu"]


def counted(m: Any, x: Tensor) -> Tensor:
    m.count += 1
    return x.relu() * m.count


def gathered(m: Any, x: Tensor) -> Tensor:
    m.count = m.count + x.mean()
    return x.relu() * m.count


def advanced(m: Any, x: Tensor) -> Tensor:
    m.count.add_(1)
    return x.relu() * m.count


@pytest.mark.parametrize("function", [counted, gathered, advanced], ids=lambda f: f.__name__)
def test_a_buffer_that_results_depend_on_and_that_changes_is_refused(function: Any) -> None:
    net = Through(function).eval()
    net.register_buffer("count", torch.zeros(()))
    with pytest.raises(BadModelError, match="forward changes the buffer 'count'"):
        splitc.load(net, X)
    assert isinstance(net.count, Tensor)
    assert net.count == 0


def cast_by_itself(m: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.fc(x).float()


def test_what_cannot_be_read_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadModelError, match=r"autocast.*\n.*\n.*\n.*leave torch\.autocast out"):
        splitc.load(Through(cast_by_itself, fc=nn.Linear(6, 6)).eval(), X)
    with pytest.raises(BadModelError, match="parameter 'weight' has no shape yet"):
        splitc.load(nn.LazyLinear(4), X)
    with pytest.raises(BadModelError, match="cannot be traced"):
        splitc.load(Through(lambda _, x: x * float(x.max())).eval(), X)
    assert capfd.readouterr().err == ""


def test_modules_may_be_called_what_python_cannot_write() -> None:
    net = nn.Sequential(OrderedDict({"a b": nn.ReLU(), 'q"%': nn.Tanh(), "x,y": nn.Sigmoid()}))
    model = assert_reads_as_it_computes(net.eval(), X)
    assert [layer.name for layer in model.graph.layers[1:]] == ["a b", 'q"%', "x,y"]
    assert str(splitc.parse_graph(str(model.graph))) == str(model.graph)


def test_the_mode_of_the_module_is_the_sources() -> None:
    net = build("mlp").train()
    assert all(each.training for each in splitc.load(net, example()).module.modules())
    net.eval()
    assert not any(each.training for each in splitc.load(net, example()).module.modules())
