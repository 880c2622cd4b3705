# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Reading PyTorch models: names, modes, hooks, element types, every door, and bad ones."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, fx, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import splitc  # noqa: E402
from splitc.cli.app import run  # noqa: E402
from splitc.errors import BadModelError, SplitcError, UsageError  # noqa: E402
from splitc.frontend.torch.model import load_torch  # noqa: E402
from tests.frontend.torch.nets import build, example  # noqa: E402
from tests.helpers import ROOT  # noqa: E402


def layer_names(model: Any) -> list[str]:
    return [layer.name for layer in model.graph.layers if not layer.is_input]


def result(model: Any, x: Tensor) -> Any:
    return next(iter(model.run({model.graph.inputs[0].name: x.numpy()}).values()))


def test_layers_are_called_by_the_path_of_their_module() -> None:
    names = layer_names(splitc.load(build("resnet-b"), example()))
    assert names[:8] == [
        "conv1", "relu", "maxpool", "layer1.0.conv1", "layer1.0.relu", "layer1.0.conv2",
        "layer1.0.add", "layer1.0.relu.2",
    ]  # fmt: skip
    assert {"layer2.0.downsample.0", "avgpool", "flatten", "fc"} <= set(names)


def test_shape_arithmetic_and_dropout_are_no_layers() -> None:
    shuffle = [x.op for x in splitc.load(build("shufflenet"), example()).graph.layers]
    assert not {"getattr", "size", "floordiv", "contiguous"} & set(shuffle)
    vgg = [x.op for x in splitc.load(build("vgg"), example()).graph.layers]
    assert not {"dropout", "batchnormalization"} & set(vgg)


def test_a_module_in_train_mode_is_read_in_eval_mode_and_left_as_it_was() -> None:
    net = build("resnet-b").train()
    net.get_submodule("bn1").eval()
    modes = [m.training for m in net.modules()]
    before = {name: t.clone() for name, t in net.state_dict().items()}
    attributes = set(vars(net))
    state = torch.get_rng_state()
    model = splitc.load(net, example())
    np.testing.assert_array_equal(result(model, example()), result(model, example()))
    assert [m.training for m in net.modules()] == modes
    assert set(vars(net)) == attributes
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    expected = build("resnet-b")(example()).detach().numpy()
    np.testing.assert_array_equal(result(model, example()), expected)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(F.relu(self.drop(self.fc(x))), 0.5, training=self.training)


def test_the_module_trains_as_the_source_does() -> None:
    net = Dropping().train()
    model = splitc.load(net, torch.randn(4, 8))
    x = torch.randn(64, 8)
    model.module.train()
    assert (model.module(x) == 0).float().mean() > 0.6
    net.eval()
    model.module.eval()
    assert torch.equal(model.module(x), net(x))
    model.module.train()
    model.module(x).sum().backward()
    assert net.fc.weight.grad is not None


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.b = nn.Linear(16, 16)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.b(self.a(x)), self.a.weight)


def test_a_shared_parameter_is_counted_once() -> None:
    model = splitc.load(Tied(), torch.randn(1, 16))
    assert [x.param_bytes for x in model.graph.layers] == [0, 16 * 17 * 4, 16 * 4, 0]
    state = model.module.state_dict(keep_vars=True)
    assert state["a.weight"] is state["b.weight"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_element_types_are_kept(dtype: Any) -> None:
    net = build("plain").to(dtype)
    model = splitc.load(net, example().to(dtype))
    name = str(dtype).removeprefix("torch.")
    assert {t.dtype for t in model.graph.tensors.values()} == {name}
    assert result(model, example().to(dtype)).dtype == np.dtype(name)


def double(*args: Any) -> Any:
    return args[-1] * 2


@pytest.mark.parametrize("path", ["", "relu", "layer1", "layer1.0"])
def test_forward_hooks_are_part_of_what_is_computed(path: str) -> None:
    net = build("resnet-b")
    plain = net(example()).detach()
    net.get_submodule(path).register_forward_hook(double)
    expected = net(example()).detach()
    assert not torch.equal(plain, expected)
    model = splitc.load(net, example())
    np.testing.assert_array_equal(result(model, example()), expected.numpy())


def test_reading_calls_a_leaf_modules_hook_once_and_running_once_more() -> None:
    net = build("resnet-b")
    calls: list[tuple[int, ...]] = []
    net.get_submodule("fc").register_forward_hook(lambda m, a, y: calls.append(tuple(y.shape)))
    model = splitc.load(net, example())
    assert calls == [(1, 10)]
    result(model, example())
    assert calls == [(1, 10)] * 2


@pytest.mark.parametrize("door", ["module", "graph module", "program", "pt2"])
def test_every_door_gives_the_same_network(door: str, tmp_path: Path) -> None:
    net = build("mobilenet")
    source: Any = net
    if door == "graph module":
        source = fx.symbolic_trace(net)
    elif door != "module":
        source = torch.export.export(net, (example(),))
    if door == "pt2":
        torch.export.save(source, tmp_path / "m.pt2")
        source = tmp_path / "m.pt2"
    model = load_torch(source, None if door in ("program", "pt2") else example())
    reference = splitc.load(net, example())
    shown = [
        [(x.op, x.kind, x.flops, x.param_bytes) for x in m.graph.layers] for m in (model, reference)
    ]
    assert shown[0] == shown[1]
    expected = result(reference, example())
    np.testing.assert_allclose(result(model, example()), expected, rtol=1e-5, atol=1e-6)
    if door in ("program", "pt2"):
        assert "train mode" in model.note


def test_a_program_of_core_operators_is_the_same_work() -> None:
    program: Any = torch.export.export(build("unet"), (example(),))
    models = [load_torch(program), load_torch(program.run_decompositions())]
    np.testing.assert_array_equal(result(models[0], example()), result(models[1], example()))
    work = [
        [(x.op, x.kind, x.flops) for x in m.graph.layers if x.op != "batchnormalization"]
        for m in models
    ]
    assert work[0] == work[1]
    norms = [x for x in models[1].graph.layers if x.op == "batchnormalization"]
    assert [(x.kind, x.param_bytes) for x in norms] == [("norm", 4 * 4 * 8)]


def test_an_exported_programs_parameters_are_its_own() -> None:
    program: Any = torch.export.export(build("plain"), (example(),))
    model = load_torch(program)
    assert {id(p) for p in model.module.parameters()} <= {id(p) for p in program.parameters()}


class OnValues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class OnShapes(nn.Module):
    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        if x.dim() == 4 and x.shape[-1] > 8:
            x = x[..., :8]
        for row in x.unbind(2)[:2]:
            x = x + row.unsqueeze(2)
        return x if scale is None else x * scale


def test_control_flow_on_shapes_is_followed() -> None:
    model = splitc.load(OnShapes(), example())
    assert [x.op for x in model.graph.layers][1:4] == ["slice", "split", "unsqueeze"]
    assert result(model, example()).shape == (1, 3, 32, 8)


ONES = torch.ones(1, 3, 32, 32)


@pytest.mark.parametrize("examples", [(ONES, ONES.sum()), {"x": ONES, "scale": ONES.sum()}])
def test_examples_come_by_position_or_by_name(examples: Any) -> None:
    model = splitc.load(OnShapes(), examples)
    assert [t.name for t in model.graph.inputs] == ["x", "scale"]


class Pair(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0] + pair[1]


class Counting(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return torch.relu(x), x.shape[0]


X = torch.ones(2, 3)
BAD: dict[str, tuple[nn.Module, Any, type[SplitcError], str]] = {
    "on values": (OnValues(), X, BadModelError, "cannot be traced"),
    "a tuple": (Pair(), ((X, X),), BadModelError, "input 'pair' is no tensor"),
    "an int": (nn.ReLU(), (3,), BadModelError, "input 'input' is no tensor"),
    "an int result": (Counting(), X, BadModelError, "a result of the module is no tensor"),
    "no example": (nn.ReLU(), None, UsageError, "needs example inputs"),
    "too many": (nn.ReLU(), (X, X), UsageError, "does not take these examples"),
    "a wrong name": (nn.ReLU(), {"inptu": X}, UsageError, "does not take these examples"),
    "a wrong shape": (nn.Linear(8, 8), X, BadModelError, "does not run on the example inputs"),
    "a wrong type": (nn.Linear(3, 8), X.double(), BadModelError, "does not run on the example"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_read_is_named(what: str) -> None:
    module, examples, kind, match = BAD[what]
    with pytest.raises(kind, match=match):
        load_torch(module, examples)


def test_a_program_with_dynamic_extents_or_of_train_mode_is_refused(tmp_path: Path) -> None:
    net = build("plain")
    batch = torch.export.Dim("batch", min=2, max=8)
    conv = nn.Conv2d(3, 4, 3)
    program = torch.export.export(
        conv, (torch.randn(4, 3, 8, 8),), dynamic_shapes={"input": {0: batch}}
    )
    with pytest.raises(BadModelError, match="dynamic extents"):
        splitc.load(program)
    torch.export.save(program, tmp_path / "d.pt2")
    with pytest.raises(BadModelError, match="dynamic extents"):
        splitc.load(tmp_path / "d.pt2")
    train = torch.export.export(build("vgg").train(), (torch.randn(2, 3, 32, 32),))
    with pytest.raises(BadModelError, match="train mode"):
        splitc.load(train)
    assert not net.training


def test_running_on_inputs_of_another_form_is_refused() -> None:
    model = splitc.load(build("plain"), example())
    with pytest.raises(BadModelError, match="no value for input 'input'"):
        model.run({})
    with pytest.raises(BadModelError, match="input 'input' is 1x3x32x32 float64"):
        model.run({"input": example().double().numpy()})


class Evil:
    def __reduce__(self) -> Any:
        return print, ("pickled code ran",)


def test_a_pt2_file_is_read_without_running_pickles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.pt2", tmp_path / "bad.pt2"
    torch.export.save(torch.export.export(build("plain"), (example(),)), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            evil = entry.filename.endswith((".pt", "_0")) or "weight" in entry.filename
            if evil and not entry.filename.endswith(".json"):
                data = pickle.dumps(Evil())
            target.writestr(entry.filename, data)
    with pytest.raises(BadModelError, match="cannot read 'bad.pt2'"):
        splitc.load(bad)
    assert "pickled code" not in capsys.readouterr().out


def test_a_pt2_file_that_is_none_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(b"not a zip")
    with pytest.raises(BadModelError, match=r"is no \.pt2 file"):
        splitc.load(path)
    torch.export.save(torch.export.export(build("plain"), (example(),)), path)
    with pytest.raises(BadModelError, match="too large"):
        splitc.load(path, max_bytes=1000)
    with pytest.raises(UsageError, match="there is no file"):
        splitc.load(tmp_path / "none.pt2")
    with pytest.raises(UsageError, match="input shapes are fixed"):
        splitc.load(path, inputs={"x": (1, 3, 32, 32)})


def test_without_torch_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"")
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'torch' else real(n, *a)\n"
        "import splitc\n"
        "try: splitc.load('m.pt2')\n"
        "except splitc.SplitcError as e: print(e.kind, e.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "ToolchainError pip install 'splitc[torch]'"


def test_inspect_and_cuts_read_pt2_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.pt2"
    torch.export.save(torch.export.export(build("plain"), (example(),)), path)
    for verb in ("inspect", "ops"):
        assert run([verb, str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)
    # In a process of its own, which has imported nothing of PyTorch's before.
    start = "from splitc.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, "cuts", str(path), "--json"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
