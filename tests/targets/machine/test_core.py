# SPDX-License-Identifier: Apache-2.0
"""Cores are data: each has its file, a board may change one, and an unknown one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitc.build.backend import backend_for
from splitc.cost.board import Board, boards, load_board
from splitc.errors import UsageError
from splitc_targets.machine import core
from splitc_targets.machine.machine import machine_of


def board(name: str = "rpi4", **changes: Any) -> Board:
    """An installed board with other figures."""
    found = load_board(name)
    unit = msgspec.structs.replace(found.processor, **changes)
    return msgspec.structs.replace(found, unit=unit)


def test_every_installed_board_has_a_core() -> None:
    for name in boards().keys() - {"host-gpu"}:
        assert machine_of(load_board(name)).lanes >= 4


@pytest.mark.parametrize("isa", ["aarch64", "x86_64"])
def test_every_core_of_a_file_makes_a_machine(isa: str) -> None:
    like = {"aarch64": "rpi4", "x86_64": "x86-64-v3"}[isa]
    for name in core.names(isa):
        assert core.core_of(board(like, cpu=name)).name == name


def test_an_unknown_core_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no core 'cortex-a75'") as caught:
        machine_of(board(cpu="cortex-a75"))
    assert "'cortex-a7" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"isa": "armv7", "triple": "armv7-linux-gnueabihf", "cpu": "cortex-a7"}, "not for armv7"),
        ({"isa": "riscv64", "triple": "riscv64-linux-gnu", "cpu": "u74"}, "not for riscv64"),
        ({"triple": "aarch64-linux-android"}, "not for aarch64-linux-android"),
        ({"triple": "x86_64-linux-gnu"}, "aarch64-linux-gnu, not for x86_64-linux-gnu"),
        ({"features": ("neon",)}, "feature 'neon' has no sign: write '+neon'"),
    ],
)
def test_what_no_code_can_be_made_for_is_refused_before_anything_is_compiled(
    changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match="--emit tvm writes nothing for rpi4") as caught:
        backend_for(board(**changes), "tvm")
    assert why in caught.value.why


@pytest.mark.parametrize(("cpu", "near"), [("cortex-a99", "cortex-a"), ("ivybridge", "x86-64")])
def test_a_processor_that_nothing_is_known_of_is_refused_with_what_there_is(
    cpu: str, near: str
) -> None:
    name = "rpi4" if near == "cortex-a" else "x86-64-v3"
    with pytest.raises(UsageError, match=f"there is no core '{cpu}'") as caught:
        backend_for(board(name, cpu=cpu), "tvm")
    assert near in caught.value.hint


def test_a_core_of_another_instruction_set_is_refused() -> None:
    with pytest.raises(UsageError, match="board 'rpi4' is for aarch64"):
        machine_of(board(cpu="x86-64-v3"))


def test_a_board_changes_figures_of_its_core() -> None:
    plain, changed = board(), board(core={"l1_bytes": 49152})
    assert machine_of(changed).l1_bytes == 49152
    assert machine_of(changed).fma_latency == machine_of(plain).fma_latency


def test_a_board_names_the_core_that_its_own_is_like() -> None:
    made = machine_of(board(cpu="cortex-a78", core={"like": "cortex-a76", "l1_ways": 8}))
    assert (made.fma_per_cycle, made.l1_ways) == (2.0, 8)


def test_a_board_brings_a_core_of_its_own() -> None:
    own = msgspec.to_builtins(core.core_of(board()))
    del own["name"], own["multiply_adds"]
    assert machine_of(board(cpu="my-core", core=own)) == machine_of(board())


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"lanes": "four"}, "Expected `int`, got `str` - at `$.lanes`"),
        ({"threads": 2}, "unknown field `threads`"),
        ({"like": "cortex-a1"}, "there is no core 'cortex-a1'"),
    ],
)
def test_a_core_that_is_described_wrongly_is_refused(table: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match="core") as caught:
        machine_of(board(core=table))
    assert why in str(caught.value)


def test_instructions_are_those_that_the_board_may_use() -> None:
    assert machine_of(board("rpi5")).multiplying("int8") is not None
    assert machine_of(board("rpi5", features=("+neon",))).multiplying("int8") is None
    half = machine_of(board("rpi5", features=("+fullfp16",))).multiplying("float16")
    assert half is not None
    assert half.lanes == 8


def test_a_board_s_file_may_have_a_core(tmp_path: Path) -> None:
    source = (Path(core.__file__).parents[1] / "boards" / "rpi4.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    own = source.replace('"cortex-a72"', '"cortex-a73"') + '\n[unit.core]\nlike = "cortex-a72"\n'
    path.write_text(own, "utf-8")
    assert machine_of(load_board(str(path))) == machine_of(load_board("rpi4"))


def test_an_unknown_core_is_refused_before_anything_is_compiled() -> None:
    """By what makes code for it: an ONNX file runs on any."""
    unknown = board(cpu="cortex-a75")
    with pytest.raises(UsageError, match="there is no core 'cortex-a75'"):
        backend_for(unknown, "tvm")
    assert backend_for(unknown, "onnx").refuses(unknown) is None
