# SPDX-License-Identifier: Apache-2.0
"""The cut table on the command line: its width, numbers, names, and what it advises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from tests.helpers import save

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def chain(names: list[str], elements: int = 1000) -> ModelProto:
    """Layers in a row that cannot be told from each other but by their names."""
    values = ["x", *(f"t{k}" for k in range(len(names)))]
    nodes = [
        helper.make_node("Sigmoid" if k % 2 else "Tanh", [a], [b], name=name)
        for k, (name, a, b) in enumerate(zip(names, values, values[1:], strict=False))
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, elements])
        for name in (values[0], values[-1])
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def model(names: list[str], elements: int = 1000) -> str:
    return str(save(chain(names, elements), Path("m.onnx")))


def table_of(text: str) -> list[str]:
    return text.partition("Times are")[0].splitlines()


LONG = [f"/backbone/stage.3/stage.3.0/bottleneck/body.{k}/Activation" for k in range(7)]


def test_long_names_end_where_they_differ_and_the_ends_are_taken(capsys: Capture) -> None:
    path = model(LONG)
    assert run(["cuts", path]) == 0
    rows = table_of(capsys.readouterr().out)
    assert all(len(row) <= 80 for row in rows)
    shown = [name for row in rows for name in re.findall(r"…\S+", row)]
    assert len({*shown}) == 6
    for name in shown:
        assert run(["cuts", path, "--explain", name]) == 0
        assert f"bottleneck/{name.partition('body')[1]}" in capsys.readouterr().out
    assert run(["cuts", path, "--explain", "body.2/Activation"]) == 0
    assert f"cut after {LONG[2]}:" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["30", "60", "80", "200"])
def test_figures_are_never_cut(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["cuts", model(LONG, 3_000_000), "--link", "lora"]) == 0
    rows = table_of(capsys.readouterr().out)
    server = next(row for row in rows if "all on the server" in row)
    assert re.search(r"12\.0 MB +0\.0 +\d\d,\d{3},\d{3}\.\d +\d+\.\d +\d\d,\d{3},\d{3}\.\d", server)
    if columns == "200":
        assert all(any(name in row for row in rows) for name in LONG[:-1])


@pytest.mark.parametrize("columns", ["", "none", "0", "-5", "9" * 30])
def test_columns_that_say_nothing_are_eighty(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["cuts", model(LONG)]) == 0
    assert max(map(len, table_of(capsys.readouterr().out))) in range(70, 81)


def test_a_number_in_the_table_is_a_cut(capsys: Capture) -> None:
    path = model(["a", "b", "c", "d"])
    assert run(["cuts", path]) == 0
    third = next(r for r in table_of(capsys.readouterr().out) if re.match(r"  *3 ", r)).split()[1]
    line = ["compile", path, "--emit", "onnx", "--quiet", "-o"]
    assert run([*line, "one.splitc", "--cut", "3"]) == 0
    assert Bundle.open("one.splitc").manifest.route.cut == (third,)
    assert run([*line, "two.splitc", "--cuts", "1,3"]) == 0
    assert (third,) in {route.cut for route in Bundle.open("two.splitc").manifest.routes}
    capsys.readouterr()
    assert run([*line, "no.splitc", "--cut", "9"]) == 2
    assert "there is no layer '9', nor cut 9" in capsys.readouterr().err


def test_a_layer_that_is_called_like_a_number_comes_first(capsys: Capture) -> None:
    path = model(["1", "c.x", "3.y", "2", "d"])
    assert run(["cuts", path]) == 0
    rows = table_of(capsys.readouterr().out)
    assert [m[1] for row in rows if (m := re.match(r"[▸ ] +(\d) \S+ +(tanh|sig)", row))] == ["4"]
    for typed, meant in (("2", "2"), ("3", "3.y"), ("1", "1")):
        assert run(["cuts", path, "--explain", typed]) == 0
        assert f"cut after {meant}:" in capsys.readouterr().out


def test_cuts_that_are_worth_the_same_fold(capsys: Capture) -> None:
    path = model(LONG)
    assert run(["cuts", path, "--objective", "throughput", "--link", "lora"]) == 0
    out = capsys.readouterr().out
    assert "and 5 as good" in out
    assert "more with --all" not in out
    assert run(["cuts", path, "--objective", "throughput", "--link", "lora", "--all"]) == 0
    assert sum("…" in row for row in table_of(capsys.readouterr().out)) == 6


def test_several_tensors_are_no_product(small_onnx: Path, capsys: Capture) -> None:
    assert run(["cuts", str(small_onnx), "--all", "--objective", "throughput"]) == 0
    out = capsys.readouterr().out
    assert "×" not in out
    assert re.search(r"B in 2 ", out)


@pytest.mark.parametrize("whole", ["none", "device", "server"])
def test_a_layer_that_is_called_like_a_whole_network_comes_first(
    small_onnx: Path, whole: str, capsys: Capture
) -> None:
    assert run(["cuts", str(small_onnx), "--explain", whole]) == 0
    side = "server" if whole == "server" else "device"
    assert f"all on the {side}: can be used" in capsys.readouterr().out
    path = model(["a", whole, "b"])
    assert run(["cuts", path, "--explain", whole]) == 0
    assert f"cut after {whole}: can be used" in capsys.readouterr().out


def test_only_if_it_pays_writes_nothing_that_does_not(small_onnx: Path, capsys: Capture) -> None:
    line = ["compile", str(small_onnx), "--emit", "onnx", "--only-if-it-pays", "-o", "o.splitc"]
    assert run([*line, "--link", "lora"]) == 5
    assert "the split does not pay: all on the device" in capsys.readouterr().err
    assert not Path("o.splitc").exists()


def test_no_slower_link_is_advised(capsys: Capture) -> None:
    for link, bits in (("ethernet", 940e6), ("wifi5", 200e6), ("lora", 5470)):
        assert run(["cuts", model(LONG), "--link", link]) == 0
        out = capsys.readouterr().out
        assert "--link " not in out
        for figure, unit in re.findall(r"--bandwidth ([\d.]+)(k|M|G)bit", out):
            assert float(figure) * {"k": 1e3, "M": 1e6, "G": 1e9}[unit] > bits
