# SPDX-License-Identifier: Apache-2.0
"""Parts that stay loaded: what they compute, refuse, share and let go of."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError, ToolchainError, UsageError
from splitc.plugins import Plugin
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import PartManifest, read_manifest
from splitc.runtime.memory import Arenas
from splitc.runtime.part import load_part
from splitc.runtime.process import run_part
from tests.helpers import ROOT, save, small_network


@pytest.fixture
def part(compiled: Bundle, tmp_path: Path) -> Path:
    """A copy of a head that runs on this machine."""
    shutil.copytree(compiled.path / "golden" / "head", tmp_path / "part")
    return tmp_path / "part"


def some(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((1, 3, 12, 12)).astype(np.float32)


def edit(part: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = part / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), "utf-8")


def test_it_computes_what_the_runner_computes(part: Path) -> None:
    (expected,), _ = run_part(part, [some()])
    with load_part(part) as loaded:
        (found,) = loaded.run([some()])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_results_are_the_callers_own(part: Path) -> None:
    with load_part(part) as loaded:
        (first,) = loaded.run([some(1)])
        kept = first.copy()
        loaded.run([some(2)])
    np.testing.assert_array_equal(first, kept)


def unaligned(array: Array) -> Array:
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + 4
    view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[:] = array
    return view


def turned(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)


@pytest.mark.parametrize("laid", [unaligned, turned, np.asfortranarray, np.copy])
def test_an_input_may_lie_in_memory_in_any_way(part: Path, laid: Callable[[Array], Array]) -> None:
    with load_part(part) as loaded:
        (expected,) = loaded.run([some()])
        (found,) = loaded.run([laid(some())])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ([np.zeros((1, 3, 12, 11), np.float32)], "input 'x' does not fit"),
        ([np.zeros((1, 3, 12, 12), np.float64)], "input 'x' does not fit"),
        ([np.zeros((1, 3, 12, 12), ">f4")], "input 'x' does not fit"),
        ([np.zeros((2, 1, 3, 12, 12), np.float32)], "input 'x' does not fit"),
        ([], "takes other inputs"),
    ],
)
def test_an_input_that_does_not_fit_is_named(part: Path, inputs: list[Array], why: str) -> None:
    with load_part(part) as loaded, pytest.raises(UsageError, match=why):
        loaded.run(inputs)


def test_a_part_that_rested_runs_on(part: Path) -> None:
    with load_part(part) as loaded:
        (expected,) = loaded.run([some()])
        for _ in range(20):
            loaded.rest()
            np.testing.assert_array_equal(loaded.run([some()])[0], expected)
    loaded.rest()


def test_a_closed_part_does_not_run(part: Path) -> None:
    with load_part(part) as loaded:
        loaded.run([some()])
    loaded.close()
    with pytest.raises(UsageError, match="the head is closed"):
        loaded.run([some()])


def test_many_threads_may_run_it_at_once(part: Path) -> None:
    inputs = [some(seed) for seed in range(40)]
    with load_part(part) as loaded, ThreadPoolExecutor(8) as pool:

        def result(x: Array) -> Array:
            return loaded.run([x])[0]

        expected = [result(x) for x in inputs]
        found = list(pool.map(result, inputs * 5))
    for one, right in zip(found, expected * 5, strict=True):
        np.testing.assert_array_equal(one, right)


def test_parts_that_work_in_the_same_memory_compute_the_same(compiled: Bundle, part: Path) -> None:
    with load_part(part) as head, load_part(compiled.path / "tail") as tail:
        expected = [tail.run(head.run([some(seed)]))[0] for seed in range(20)]
    arenas = Arenas()
    with (
        load_part(part, arenas) as head,
        load_part(compiled.path / "tail", arenas) as tail,
        ThreadPoolExecutor(4) as pool,
    ):

        def result(seed: int) -> Array:
            return tail.run(head.run([some(seed)]))[0]

        found = list(pool.map(result, range(20)))
        blocks = [arenas.borrow() for _ in range(5)]
    np.testing.assert_array_equal(found, expected)
    wanted = {read_manifest(folder, PartManifest).activation_bytes
              for folder in (part, compiled.path / "tail")}  # fmt: skip
    assert {len(block) for block in blocks} == {max(1, *wanted)}
    assert len({id(block) for block in blocks}) == 5


def test_one_block_serves_parts_that_run_one_after_another(compiled: Bundle, part: Path) -> None:
    arenas = Arenas()
    with load_part(part, arenas) as head, load_part(compiled.path / "tail", arenas) as tail:
        for seed in range(3):
            tail.run(head.run([some(seed)]))
    assert arenas.blocks == 1


def code_in_memory() -> int:
    maps = Path("/proc/self/maps").read_text("utf-8").splitlines()
    return sum("memfd:model.so" in line or "weights.bin" in line for line in maps)


def test_a_closed_part_leaves_no_code_and_no_weights_behind(part: Path) -> None:
    gc.collect()
    before = code_in_memory()
    loaded = load_part(part)
    loaded.run([some()])
    assert code_in_memory() > before
    loaded.close()
    assert code_in_memory() == before


def test_a_part_compiled_again_at_its_path_is_loaded_anew(part: Path, tmp_path: Path) -> None:
    other = save(small_network(seed=1), tmp_path / "other.onnx")
    built = splitc.compile(other, cut="block_add", head="host", output=tmp_path / "o.splitc")
    with load_part(part) as old:
        (before,) = old.run([some()])
        shutil.rmtree(part)
        shutil.copytree(built.path / "head", part)
        with load_part(part) as new:
            (found,) = new.run([some()])
        (still,) = old.run([some()])
    (expected,), _ = run_part(part, [some()])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(still, before)
    assert not np.array_equal(found, before)


def flip(part: Path, name: str) -> None:
    data = bytearray((part / name).read_bytes())
    data[len(data) // 2] ^= 255
    (part / name).write_bytes(data)


def rehash(part: Path, name: str) -> None:
    entry = file_entry(part / name)
    files = {"bytes": entry.bytes, "sha256": entry.sha256}
    edit(part, lambda m: m["files"].update({name: files}))


def no_model(part: Path) -> None:
    (part / "model.so").write_bytes(b"not a library")
    rehash(part, "model.so")


def not_ours(part: Path) -> None:
    shutil.copyfile(part / "libsplitc.so", part / "model.so")
    rehash(part, "model.so")


def longer_weights(part: Path) -> None:
    with (part / "weights.bin").open("ab") as file:
        file.write(bytes(64))
    rehash(part, "weights.bin")


def other_arena(part: Path) -> None:
    edit(part, lambda m: m.update(activation_bytes=m["activation_bytes"] + 64))


def altered(name: str) -> Callable[[Path], None]:
    def damage(part: Path) -> None:
        flip(part, name)

    return damage


def saying(**fields: Any) -> Callable[[Path], None]:
    def damage(part: Path) -> None:
        edit(part, lambda m: m.update(fields))

    return damage


def no_weights(part: Path) -> None:
    (part / "weights.bin").unlink()


def stranger(part: Path) -> None:
    (part / "evil.so").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "kind", "why"),
    [
        (altered("model.so"), BadBundleError, "'model.so' was altered"),
        (altered("weights.bin"), BadBundleError, "'weights.bin' was altered"),
        (altered("libsplitc.so"), BadBundleError, "'libsplitc.so' was altered"),
        (no_weights, BadBundleError, "'weights.bin' is missing"),
        (stranger, BadBundleError, "'evil.so' is not in the manifest"),
        (saying(isa="riscv64"), ToolchainError, "on this machine"),
        (saying(format="wasm"), BadBundleError, "nothing loads parts in 'wasm'"),
        (saying(libraries=[]), BadBundleError, "has no runtime"),
        (saying(weights="../weights.bin"), BadBundleError, "names '../weights.bin'"),
        (longer_weights, BadBundleError, "not as long as it says"),
        (no_model, ToolchainError, "cannot load 'model.so'"),
        (not_ours, ToolchainError, "cannot load the code"),
    ],
)
def test_a_part_that_is_not_right_is_not_loaded(
    part: Path, damage: Callable[[Path], None], kind: type[Exception], why: str
) -> None:
    damage(part)
    with pytest.raises(kind, match=why):
        load_part(part)


def test_what_the_code_refuses_is_said_in_its_words(part: Path) -> None:
    other_arena(part)
    with load_part(part) as loaded, pytest.raises(ToolchainError, match="did not run") as caught:
        loaded.run([some()])
    assert "arena" in caught.value.why


def test_a_file_that_changes_while_it_is_loaded_is_noticed(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import splitc.runtime.part

    load_checked = splitc.runtime.part.load_checked

    def swaps(folder: Path, *args: Any) -> Any:
        shutil.copyfile(folder / "weights.bin", folder / "other.bin")
        (folder / "other.bin").replace(folder / "weights.bin")
        return load_checked(folder, *args)

    monkeypatch.setattr(splitc.runtime.part, "load_checked", swaps)
    with pytest.raises(BadBundleError, match="cannot load 'weights.bin'"):
        load_part(part)


def test_a_pack_brings_what_loads_a_format_of_its_own(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Plugin(loaders={"wasm": "tests.runtime.test_part:Echo"})
    for module in ("splitc.runtime.part", "splitc.plugins"):
        monkeypatch.setattr(f"{module}.plugins", lambda: mine)
    edit(part, lambda m: m.update(format="wasm"))
    (found,) = load_part(part).run([some()])
    np.testing.assert_array_equal(found, some())


class Echo:
    """A part that gives its inputs back."""

    def __init__(self, folder: Path, part: Any) -> None:
        pass

    def run(self, inputs: list[Array]) -> list[Array]:
        return list(inputs)


def test_a_part_in_onnx_stays_loaded_too(small_onnx: Path, tmp_path: Path) -> None:
    bundle = splitc.compile(small_onnx, cut="pool", emit="onnx", output=tmp_path / "o.splitc")
    with load_part(bundle.path / "head") as loaded:
        (spec,) = loaded.contract.outputs
        (found,) = loaded.run([some()])
        assert found.shape == spec.shape
        with pytest.raises(UsageError, match="input 'x' does not fit"):
            loaded.run([some()[0]])
    with pytest.raises(UsageError, match="is closed"):
        loaded.run([some()])


def script(code: str, *arguments: Path | str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


RUN = """
import sys
import numpy as np
from pathlib import Path
from splitc.runtime.part import load_part
def run():
    with load_part(Path(sys.argv[1])) as part:
        (y,) = part.run([np.ones((1, 3, 12, 12), np.float32)])
    return float(y.sum())
"""

COMPILE = """
import splitc
def compiled():
    bundle = splitc.compile(sys.argv[2], cut="pool", head="host", output=sys.argv[3])
    return bundle.verify().passed
"""


def test_it_needs_no_compiler_and_no_framework(part: Path) -> None:
    blocked = "import sys\nsys.modules.update(dict.fromkeys(%r))\n"
    heavy = ("tvm", "tvm_ffi", "torch", "onnx", "onnxruntime", "onnxsim", "networkx")
    printed = script(blocked % (heavy,) + RUN + "print(run())", part)
    with load_part(part) as loaded:
        (expected,) = loaded.run([np.ones((1, 3, 12, 12), np.float32)])
    assert float(printed) == float(expected.sum())


@pytest.mark.parametrize("order", ["a, b, c = run(), compiled(), run()",
                                   "b, a, c = compiled(), run(), run()"])  # fmt: skip
def test_tvm_may_be_in_the_same_process_before_or_after(
    part: Path, small_onnx: Path, tmp_path: Path, order: str
) -> None:
    end = f"import tvm\n{order}\nprint(a == c, b)"
    printed = script(RUN + COMPILE + end, part, small_onnx, tmp_path / "out.splitc")
    assert printed.splitlines()[-1] == "True True"


def test_a_forked_child_runs_it_as_well(part: Path) -> None:
    code = (
        RUN
        + """
import os
before = run()
child = os.fork()
if child == 0:
    os._exit(0 if run() == before else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), run() == before)
"""
    )
    assert script(code, part) == "0 True"
