# SPDX-License-Identifier: Apache-2.0
"""The import rule: packs import the kernel, never the other way; heavy things lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT, save, small_network

HEAVY = ("torch", "onnx", "onnxruntime", "tvm", "networkx", "numpy", "onnxsim")
PACKS = ("splitc_passes", "splitc_targets")


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level package of every import, and whether it runs when the module is loaded."""
    tree = ast.parse(path.read_text("utf-8"))
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            yield name.split(".")[0], id(node) not in lazy


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("splitc"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_kernel_imports_no_pack(path: Path) -> None:
    assert not [name for name, _ in imports_of(path) if name in PACKS]


SPEAK_TVM = {
    "aten/converters.py", "loops/emit.py", "loops/tir_pipeline.py", "transforms/moves.py",
    "tuning/measure.py", "tvm/adapter.py", "tvm/bounded_places.py", "tvm/fallback.py",
    "tvm/reader.py", "tvm/runtime_calls.py", "tvm/writer.py",
}  # fmt: skip
"""The files to look through when TVM's names move: nothing else in the pack imports it."""


def test_only_the_targets_pack_imports_tvm_and_only_where_it_must() -> None:
    users = [
        path
        for folder in ("splitc", "passes", "targets")
        for path in files(folder)
        if any(name in ("tvm", "tvm_ffi") for name, _ in imports_of(path))
    ]
    pack = ROOT / "targets" / "splitc_targets"
    assert {path.relative_to(pack).as_posix() for path in users} == SPEAK_TVM


def test_passes_do_not_import_targets() -> None:
    for path in files("passes"):
        assert "splitc_targets" not in [name for name, _ in imports_of(path)]


@pytest.mark.parametrize("statement", ["import splitc", "import splitc.cli.app"])
def test_importing_splitc_and_its_command_line_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import splitc

    for name in splitc.__all__:
        assert getattr(splitc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = splitc.nothing


def test_what_cannot_be_compiled_is_asked_without_tvm(tmp_path: Path) -> None:
    path = save(small_network(), tmp_path / "small.onnx")
    code = (
        "import sys; from splitc.cli import main\n"
        f"sys.argv = ['splitc', 'cuts', {str(path)!r}, '--json']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('tvm' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert '"unsupported": []' in done.stdout
    assert done.stderr.split()[-1] == "False"
