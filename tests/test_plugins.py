# SPDX-License-Identifier: Apache-2.0
"""Packs: ours enter by the door that is open to anyone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest

import splitc
from splitc import plugins
from splitc.cli.app import run
from splitc.cost import board
from splitc.cost.board import Gpu, load_board, read_board
from splitc.cost.prices import BoardCost
from splitc.errors import SplitcError, UsageError
from splitc.ir.chain import Insertion, channel_layers
from splitc.ir.model import GraphModel
from splitc.ir.text import parse_graph
from splitc.plugins import Plugin
from tests.helpers import ROOT

OTHER = Plugin(passes={"other-pass": "tests.passes.test_pipeline:LoseALayer"})
SAME = Plugin(passes={"group-blocks": "tests.passes.test_pipeline:LoseALayer"})
KINDS = Plugin(kinds={"flip": "channel"})
BAD_KIND = Plugin(kinds={"flip": "chanel"})
NOT_A_PLUGIN = "text"


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """The installed entry points, to which a test may add."""
    found = list(plugins.entry_points(group=plugins.GROUP))

    def entry_points(group: str) -> list[EntryPoint]:
        return found

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    plugins.forget()
    yield found
    plugins.forget()


def entry(name: str) -> EntryPoint:
    return EntryPoint(name.lower(), f"tests.test_plugins:{name}", plugins.GROUP)


def test_a_strangers_pack_brings_a_pass(packs: list[EntryPoint]) -> None:
    packs.append(entry("OTHER"))
    assert plugins.find("passes", "other-pass").name == "lose-a-layer"
    assert plugins.find("passes", "group-blocks").name == "group-blocks"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SAME", "", "another pack brings the passes 'group-blocks' too"),
        ("NOT_A_PLUGIN", "", "is no splitc Plugin"),
        ("gone", "no_such_module:PACK", "No module named 'no_such_module'"),
        ("raises", "tests.broken_pack:PACK", "RuntimeError: this pack is broken"),
    ],
)
def test_a_broken_pack_is_left_out_and_named(
    packs: list[EntryPoint], name: str, value: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = plugins.plugins()
    packs.append(EntryPoint(name.lower(), value, plugins.GROUP) if value else entry(name))
    packs.append(entry("OTHER"))
    plugins.forget()
    (broken,) = plugins.broken_packs()
    assert broken.name == name.lower()
    assert why in broken.why
    assert plugins.plugins().passes == {**before.passes, **OTHER.passes}
    with pytest.raises(UsageError, match="there is no 'nothing'") as caught:
        plugins.find("passes", "nothing")
    assert why in caught.value.why
    for verb in ("doctor", "targets"):
        assert run([verb]) == 0
        shown = capsys.readouterr()
        assert f"splitc: pack '{name.lower()}' is left out" in shown.err
        assert verb != "doctor" or f"pack {name.lower()}" in shown.out


def test_a_strangers_pack_takes_no_name_from_ours(packs: list[EntryPoint]) -> None:
    packs.append(EntryPoint("a", "tests.test_plugins:SAME", plugins.GROUP))
    assert "splitc_passes" in plugins.plugins().passes["group-blocks"]
    assert [pack.name for pack in plugins.broken_packs()] == ["a"]


def test_a_strangers_channel_is_one_whatever_carries_the_network(packs: list[EntryPoint]) -> None:
    torch = pytest.importorskip("torch")
    packs.append(entry("KINDS"))

    def flip() -> list[Any]:
        module = torch.nn.Identity()
        module.splitc_op = "flip"
        return [module]

    chain = [Insertion("flip", "flip", (1, 4), modules=flip)]
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    trained = splitc.load(module, torch.zeros(1, 4))
    tensor = trained.graph.layers[2].outputs[0].name
    for model in (trained, GraphModel(trained.graph)):
        made = model.insert(tensor, chain)
        assert channel_layers(made.graph) == (f"{tensor}.flip",)
        seconds = BoardCost(load_board("rpi4")).seconds(made.graph)
        assert seconds[made.graph.index[f"{tensor}.flip"]] == 0
        assert str(made.bypass([f"{tensor}.flip"]).graph) == str(trained.graph)


def test_a_kind_that_there_is_not_names_the_nearest(packs: list[EntryPoint]) -> None:
    packs.append(entry("BAD_KIND"))
    with pytest.raises(SplitcError, match="'flip' is a 'chanel'") as caught:
        parse_graph("%x = input() : 1x4\n%y = flip(%x) : 1x4\n")
    assert "channel" in caught.value.hint


def test_the_boards_that_were_promised_are_there() -> None:
    wanted = {"rpi3", "rpi4", "rpi5", "rpi-zero2w", "jetson-nano", "jetson-orin-nano"}
    wanted |= {"orangepi5", "rock5b", "graviton2", "x86-64-v2", "x86-64-v3", "x86-64-v4", "host"}
    assert wanted <= set(board.boards())
    assert load_board("host").processor.cpu.startswith("x86-64-v")


def test_every_figure_of_a_board_file_has_a_comment() -> None:
    for path in sorted((ROOT / "targets/splitc_targets/boards").glob("*.toml")):
        lines = path.read_text("utf-8").splitlines()
        # What a file has from another board, or is found when it is used, stands there.
        own = not any(line.startswith("base = ") for line in lines)
        for key in ("clock_hz", "flops_per_cycle", "memory_bandwidth", "compute_power_w"):
            places = [i for i, line in enumerate(lines) if line.startswith(key)]
            assert places or not own, f"{path.name}: no {key}"
            assert all(lines[at - 1].startswith("#") for at in places), f"{path.name}: {key}"


def test_a_board_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    text = (ROOT / "targets/splitc_targets/boards/rpi4.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('name = "rpi4"', 'name = "mine"'), "utf-8")
    assert load_board(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("cores = 4", 'cores = "four"', "cores"),
        ("cores = 4", "kores = 4", "kores"),
        ("cores = 4", "cores = ", "cannot read"),
        ("cores = 4", "cores = 0", "cores"),
        ("clock_hz = 1800000000.0", "clock_hz = nan", "clock_hz"),
        ("layer_overhead_s = 4e-05", "layer_overhead_s = -1.0", "layer_overhead_s"),
    ],
)
def test_a_malformed_board_file_is_a_usage_error(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    text = (ROOT / "targets/splitc_targets/boards/rpi4.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(UsageError, match="board file") as caught:
        read_board(path)
    assert why in str(caught.value)


def test_a_board_begins_from_another_and_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "rpi4"\nname = "mine"\nclock_hz = 2e9\n[unit]\nglibc = "2.31"\n')
    mine, base = read_board(path), load_board("rpi4")
    unit = msgspec.structs.replace(base.processor, glibc="2.31")
    title = f"mine, like {base.title}"
    assert mine == msgspec.structs.replace(base, name="mine", title=title, clock_hz=2e9, unit=unit)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('base = "rpi44"\nname = "mine"', "did you mean 'rpi4'"),
        ('base = "rpi4"', "it lacks name"),
        ('base = "rpi4"\nname = "mine"\nklock_hz = 1e9', "unknown field `klock_hz`"),
    ],
)
def test_a_board_that_begins_wrongly_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match="board") as caught:
        read_board(tmp_path / "mine.toml")
    assert why in str(caught.value)


def test_all_that_a_board_file_lacks_is_named_at_once_with_an_example(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[unit]\ntype = "cpu"\nisa = "aarch64"\n[efficiency]\nconv = 0.3\n'
    )
    with pytest.raises(UsageError, match=r"board file mine\.toml") as caught:
        read_board(path)
    for name in ("title", "cores", "transmit_power_w", "unit.cpu", "unit.glibc", "efficiency.norm"):
        assert re.search(rf"[ ,]{re.escape(name)}(,|$)", caught.value.why)
    assert 'base = "rpi4"' in caught.value.hint


def test_a_board_s_file_is_printed_to_begin_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["targets", "--file", "rpi5"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out)
    assert read_board(tmp_path / "mine.toml") == load_board("rpi5")
    assert run(["targets", "--file", "rpi55"]) == 2
    assert "did you mean 'rpi5'" in capsys.readouterr().err


GPU = """
[unit]
type = "gpu"
api = "vulkan"
arch = "rdna3"
memory_bytes = 85899345920

[unit.host]
"""


def test_a_board_with_a_gpu_is_priced_and_refused_by_the_name_of_what_writes_no_code_for_it(
    tmp_path: Path, small_onnx: Path
) -> None:
    text = (ROOT / "targets/splitc_targets/boards/x86-64-v3.toml").read_text("utf-8")
    before, found, host = text.partition('[unit]\ntype = "cpu"\n')
    assert found
    path = tmp_path / "card.toml"
    path.write_text(before.replace('"x86-64-v3"', '"card"') + GPU.lstrip() + host, "utf-8")
    card = load_board(str(path))
    assert isinstance(card.unit, Gpu)
    assert card.processor == load_board("x86-64-v3").unit
    assert splitc.find_cuts(splitc.load(small_onnx), tail=card).usable
    with pytest.raises(UsageError, match="--emit tvm writes nothing for card") as caught:
        splitc.compile(small_onnx, tail=card, output=tmp_path / "b.splitc")
    assert caught.value.why == "it makes code for CUDA and OpenCL, not for vulkan"
