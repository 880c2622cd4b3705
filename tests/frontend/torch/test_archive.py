# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Hostile `.pt2` files: each is refused by name, and nothing in it runs or is allocated."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import BadModelError  # noqa: E402

Files = dict[str, bytes]
MODEL = "m/models/model.json"
WEIGHTS = "m/data/weights/model_weights_config.json"
CONSTANTS = "m/data/constants/model_constants_config.json"
RUN = "print('it ran')"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.scale = torch.ones(2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.conv(x) * self.scale[0], "b": torch.relu(x)}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "m.pt2"
    torch.export.save(torch.export.export(Net().eval(), (torch.ones(1, 3, 8, 8),)), path)
    return path


def files_of(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def written(files: Files, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


class Evil:
    def __reduce__(self) -> Any:
        return exec, (RUN,)


def edited(name: str, edit: Callable[[Any], None]) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        value = json.loads(files[name])
        edit(value)
        files[name] = json.dumps(value).encode()

    return apply


def replaced(name: str, old: str, new: str) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        text = files[name].decode()
        assert old in text
        files[name] = text.replace(old, new).encode()

    return apply


def opaque(files: Files) -> None:
    """PyTorch unpickles what is called so, whatever it is told of weights only."""
    edited(CONSTANTS, lambda v: v["config"]["scale"].update(path_name="opaque_obj_0"))(files)
    files["m/data/constants/opaque_obj_0"] = pickle.dumps(Evil()) + bytes(2)
    assert len(files["m/data/constants/opaque_obj_0"]) % 4 == 0


def pickled(files: Files) -> None:
    edited(WEIGHTS, lambda v: v["config"]["conv.bias"].update(use_pickle=True))(files)
    files["m/data/weights/weight_1"] = pickle.dumps(Evil())


def legacy(files: Files) -> None:
    files["m/data/weights/model.pt"] = pickle.dumps(Evil())


def sample(files: Files) -> None:
    files["m/data/sample_inputs/model.pt"] = pickle.dumps(Evil())


def empty(value: Any) -> None:
    meta = value["config"]["conv.bias"]["tensor_meta"]
    meta["sizes"] = [{"as_int": 1 << 20}, {"as_int": 1 << 20}]
    meta["strides"] = [{"as_int": 0}, {"as_int": 0}]


OPEN = "Symbol('s77', positive=True, integer=True)"


def formula(text: str) -> Callable[[Files], None]:
    def edit(value: Any) -> None:
        shape = value["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        shape[0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 1}}}

    return edited(MODEL, edit)


def escaped(files: Files) -> None:
    formula(RUN)(files)
    files[MODEL] = files[MODEL].replace(b"expr_str", rb"expr\u005fstr")


def class_in_spec(value: Any) -> None:
    signature = value["graph_module"]["module_call_graph"][0]["signature"]
    leaf = {"type": None, "context": None, "children_spec": []}
    context = json.dumps({"__enum__": True, "fqn": "this:c", "name": "x"})
    spec = {"type": "builtins.dict", "context": context, "children_spec": [leaf, leaf]}
    signature["out_spec"] = json.dumps([1, spec])


def calling(target: str) -> Callable[[Any], None]:
    def edit(value: Any) -> None:
        value["graph_module"]["graph"]["nodes"][0]["target"] = target

    return edit


def names(old: str, new: str) -> Callable[[Files], None]:
    """Another name wherever it stands: torch writes names into the code that it makes."""

    def apply(files: Files) -> None:
        for name in (MODEL, WEIGHTS, CONSTANTS):
            quoted = json.dumps(new)
            files[name] = files[name].replace(f'"{old}"'.encode(), quoted.encode())

    return apply


HOSTILE: dict[str, tuple[Callable[[Files], Any], str]] = {
    "an opaque object": (opaque, "holds 'm/data/constants/opaque_obj_0'"),
    "a pickled weight": (pickled, "'conv.bias' is pickled"),
    "a legacy weight": (legacy, r"holds 'm/data/weights/model\.pt'"),
    "pickled samples": (sample, "cannot read"),
    "compiled code": (
        lambda f: f.update({"m/data/aotinductor/model/x.so": b"\x7fELF"}),
        "holds 'm/data/aotinductor",
    ),
    "a second model": (lambda f: f.update({"m/models/other.json": f[MODEL]}), "other.json"),
    "a path upwards": (lambda f: f.update({"m/../../x": b""}), r"holds 'm/\.\./\.\./x'"),
    "an absolute path": (lambda f: f.update({"/etc/x": b""}), "holds '/etc/x'"),
    "a formula": (formula(RUN), "dynamic extents"),
    "code before an open extent": (formula(f"{RUN} or {OPEN}"), "dynamic extents"),
    "code behind an open extent": (formula(f"{OPEN}\n+{RUN}"), "dynamic extents"),
    "code in an open extent": (formula(OPEN.replace("True", RUN)), "dynamic extents"),
    "code in an open extent's name": (formula(OPEN.replace("s77", f"s77'+{RUN}+'")), "dynamic"),
    "a line behind an open extent": (formula(OPEN + "\n"), "dynamic extents"),
    "an open extent without its range": (formula(OPEN), "not said to take 1 sample"),
    "a formula's key escaped": (escaped, "dynamic extents"),
    "an import": (edited(MODEL, class_in_spec), "a class"),
    "a function of torch's": (edited(MODEL, calling("torch.load")), "calls 'torch.load'"),
    "an extension": (edited(MODEL, calling("#executorch:x")), "calls '#executorch:x'"),
    "code as an input": (names("x", f"x={RUN}"), "name"),
    "code as a weight": (names("conv.bias", f'x") or {RUN}#'), "name"),
    "code as an argument": (
        edited(
            MODEL,
            lambda v: v["graph_module"]["module_call_graph"][0]["signature"].update(
                forward_arg_names=[f"x={RUN}"]
            ),
        ),
        "name",
    ),
    "a huge weight of no bytes": (
        lambda f: (edited(WEIGHTS, empty)(f), f.update({"m/data/weights/weight_1": b""}))[0],
        "'conv.bias' is too large",
    ),
    "a huge weight of few bytes": (edited(WEIGHTS, empty), "'conv.bias' is too large"),
    "a negative extent": (
        edited(
            WEIGHTS,
            lambda v: v["config"]["conv.bias"]["tensor_meta"].update(sizes=[{"as_int": -4}]),
        ),
        "cannot read",
    ),
    "broken text": (lambda f: f.update({MODEL: f[MODEL][:-5]}), "cannot read"),
    "deep text": (lambda f: f.update({MODEL: b"[" * 100_000}), "cannot read"),
    "no model": (lambda f: f.pop(MODEL), "cannot read"),
    "a list as config": (lambda f: f.update({WEIGHTS: b"[1]"}), "cannot read"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_in_it_runs(
    what: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change, match = HOSTILE[what]
    files = files_of(good)
    change(files)
    path = written(files, tmp_path / "bad.pt2")
    with pytest.raises(BadModelError, match=match):
        splitc.load(path)
    assert capfd.readouterr().out == ""


def test_a_truncated_file_is_refused(good: Path, tmp_path: Path) -> None:
    data = good.read_bytes()
    path = tmp_path / "bad.pt2"
    for size in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(BadModelError, match=r"bad\.pt2"):
            splitc.load(path)


def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(good: Path, tmp_path: Path) -> None:
    files = files_of(good)
    files["m/extra/zeros"] = bytes(1 << 24)
    path = written(files, tmp_path / "bomb.pt2", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BadModelError, match="too large"):
        splitc.load(path, max_bytes=1 << 23)


def test_samples_that_unpack_to_more_than_the_limit_are_refused(good: Path, tmp_path: Path) -> None:
    files, inner = files_of(good), io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 24))
    files["m/data/sample_inputs/model.pt"] = inner.getvalue()
    with pytest.raises(BadModelError, match="too large"):
        splitc.load(written(files, tmp_path / "bomb.pt2"), max_bytes=1 << 23)


def test_an_entry_that_stands_twice_is_refused(good: Path, tmp_path: Path) -> None:
    path = written(files_of(good), tmp_path / "twice.pt2")
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr(MODEL, b"{}")
    with pytest.raises(BadModelError, match=r"model\.json' twice"):
        splitc.load(path)


def test_guards_of_a_program_are_never_run(
    good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = files_of(good)
    edited(MODEL, lambda v: v.update(guards_code=[RUN]))(files)
    model = splitc.load(written(files, tmp_path / "guards.pt2"))
    model.run({"x": torch.ones(1, 3, 8, 8).numpy()})
    assert capfd.readouterr().out == ""


def test_a_good_file_that_was_packed_anew_is_read(good: Path, tmp_path: Path) -> None:
    model = splitc.load(written(files_of(good), tmp_path / "n.pt2", zipfile.ZIP_DEFLATED))
    assert [layer.op for layer in model.graph.layers] == ["input", "conv", "mul", "relu"]


def test_a_weight_that_was_altered_is_named(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        entry = archive.getinfo("m/data/weights/weight_0")
        stored = archive.read(entry)
    place = data.index(stored, entry.header_offset)
    data[place + 3] ^= 0x01
    path = tmp_path / "altered.pt2"
    path.write_bytes(data)
    with pytest.raises(BadModelError, match=r"weights/weight_0' of 'altered\.pt2' is damaged"):
        splitc.load(path)


@pytest.mark.parametrize("name", ["0.bias", "1.running_mean"])
def test_weights_that_hold_nan_are_refused(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    stored = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    with torch.no_grad():
        stored[name][1] = torch.nan
    with pytest.raises(BadModelError, match=f"weight '{name}' holds NaN"):
        splitc.load(net, torch.ones(1, 3, 8, 8))
