# SPDX-License-Identifier: Apache-2.0
"""The import rules: packs import the kernel, rooms the ones below them; heavy things lazily."""

from __future__ import annotations

import ast
import importlib
import pydoc
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT, save, small_network

HEAVY = ("torch", "onnx", "onnxruntime", "tvm", "networkx", "numpy", "onnxsim")
PACKS = ("splitc_passes", "splitc_targets")


ROOMS: dict[str, tuple[str, ...]] = {
    "splitc": (
        "version", "lazy_names", "errors", "epoch", "arrays", "array_files", "plugins", "scratch",
        "cache", "pictures",
        "link", "ir", "passes", "cost", "search", "runtime", "zoo", "bundle",
        "figures", "reporting", "policy", "wire", "net", "serve", "send", "simulate",
        "frontend.onnx", "frontend.torch", "frontend.convert", "frontend", "quantization", "build",
        "sweep", "builds", "finetune", "evaluate", "", "cli", "__main__",
    ),
    "passes/splitc_passes": (
        "layers", "codecs", "training", "cutters", "analyses", "recipes", "",
    ),
    "targets/splitc_targets": (
        "link", "source", "machine", "graph", "loops",
        "kernels.product", "kernels.window", "kernels.winograd", "kernels.strassen",
        "kernels.recurrent", "kernels",
        "transforms", "plan", "estimate", "rules", "operators", "aten", "tvm", "pipeline",
        "gpu.device", "gpu.loops", "gpu.kernels", "gpu", "emitted", "tuning", "backend",
        "checks", "",
    ),
}  # fmt: skip
"""The rooms of each pack, lower ones first: a room imports none that stands behind it.

A room is a folder, or a file that stands alone; "" is the pack's own `__init__`. Whether an
import runs at once, when a function is called or for type checkers only makes no difference:
what a file knows is what it imports.
"""

UPWARD = {
    ("splitc.frontend", "splitc.finetune.manifest"),
    ("splitc.frontend", "splitc.finetune.folder"),
}
"""Who imports a higher room all the same. `load` is the one door for networks, and the folder
that `splitc finetune` writes is one: the room that writes it reads it, when such a folder comes.
"""


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """The name that a file of a pack is imported by."""
    folder = next(ROOT / folder for folder in ROOMS if path.is_relative_to(ROOT / folder))
    inside = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(inside).removesuffix(".__init__")


OURS = {module_of(path): path for folder in ROOMS for path in files(folder)}
"""Every file of the packs by the name that it is imported by."""


@dataclass(frozen=True)
class Import:
    """One module that a file imports.

    Args:
        module: Its whole name, down to the file.
        at_once: Whether it is imported when the file is: not in a function, and not for type
            checkers alone.
    """

    module: str
    at_once: bool


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file."""
    tree = ast.parse(path.read_text("utf-8"))
    later = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in OURS else str(node.module) for name in inside]
        for name in names:
            yield Import(name, id(node) not in later)


def packages_of(path: Path) -> set[str]:
    """The packages that a file imports anything of."""
    return {each.module.split(".")[0] for each in imports_of(path)}


@pytest.mark.parametrize("path", files("splitc"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_kernel_imports_no_pack(path: Path) -> None:
    assert not packages_of(path) & set(PACKS)


SPEAK_TVM = {
    "aten/converters.py", "aten/further_results.py", "gpu/lowering.py", "gpu/schedule.py",
    "loops/emit.py", "loops/tir_pipeline.py", "operators/own.py", "operators/recurrent.py",
    "operators/scans.py", "transforms/moves.py", "tuning/measure.py", "tuning/remote.py",
    "tvm/__init__.py", "tvm/adapter.py", "tvm/bounded_places.py", "tvm/fallback.py",
    "tvm/layer_names.py", "tvm/onnx_importer.py", "tvm/reader.py", "tvm/rewriting.py",
    "tvm/runtime_calls.py", "tvm/total_integers.py", "tvm/writer.py",
}  # fmt: skip
"""The files to look through when TVM's names move: nothing else in the pack imports it."""


def test_only_the_targets_pack_imports_tvm_and_only_where_it_must() -> None:
    users = [
        path
        for folder in ("splitc", "passes", "targets")
        for path in files(folder)
        if packages_of(path) & {"tvm", "tvm_ffi"}
    ]
    pack = ROOT / "targets" / "splitc_targets"
    assert {path.relative_to(pack).as_posix() for path in users} == SPEAK_TVM


def test_passes_do_not_import_targets() -> None:
    for path in files("passes"):
        assert "splitc_targets" not in packages_of(path)


def room_of(module: str, rooms: tuple[str, ...]) -> int:
    """Which of a pack's rooms a module is in; fails where it is in none."""
    inside = module.partition(".")[2]
    fits = [r for r in rooms if r == inside or (r and inside.startswith(f"{r}."))]
    assert fits, f"{module} is in no room of tests/test_imports.py"
    return rooms.index(max(fits, key=len))


@pytest.mark.parametrize("folder", ROOMS)
def test_no_room_imports_a_higher_one(folder: str) -> None:
    rooms, pack = ROOMS[folder], Path(folder).name
    upward = {
        (module, each.module)
        for module in OURS
        if module.split(".")[0] == pack
        for each in imports_of(OURS[module])
        if each.module.split(".")[0] == pack
        and room_of(each.module, rooms) > room_of(module, rooms)
    }
    assert upward == {pair for pair in UPWARD if pair[0].split(".")[0] == pack}


def test_no_files_import_one_another_in_a_circle() -> None:
    graph = {
        module: [each.module for each in imports_of(path) if each.at_once and each.module in OURS]
        for module, path in OURS.items()
    }
    assert list(TopologicalSorter(graph).static_order())


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


@pytest.mark.parametrize(
    "package",
    ["splitc", "splitc.finetune", "splitc.frontend.onnx", "splitc.frontend.torch", "splitc.send"],
)
def test_completion_and_help_show_the_public_names(package: str) -> None:
    module = importlib.import_module(package)
    shown = [name for name in dir(module) if not name.startswith("__")]
    assert shown == sorted(name for name in module.__all__ if not name.startswith("__"))
    assert {"__all__", "__doc__", "__file__"} <= set(dir(module))


def test_help_tells_of_every_public_name() -> None:
    import splitc

    text = pydoc.plain(pydoc.render_doc(splitc))
    assert not [n for n in splitc.__all__ if n != "__version__" and n not in text]


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
