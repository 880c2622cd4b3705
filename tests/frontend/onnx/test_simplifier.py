# SPDX-License-Identifier: Apache-2.0
"""onnxsim in a process of its own: what happens when it fails, hangs or lies."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.errors import BadModelError
from tests.frontend.nets import chain
from tests.warm_onnxsim import cold


@pytest.fixture(autouse=True)
def _started_for_each(  # pyright: ignore[reportUnusedFunction]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cold(monkeypatch)


def simplifier_is(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run this Python code in place of onnxsim's process."""
    start: Callable[..., Any] = subprocess.Popen

    def stand_in(command: list[str], **options: Any) -> Any:
        assert command[-1] == "splitc.frontend.onnx.run_onnxsim"
        return start([sys.executable, "-c", script], **options)

    monkeypatch.setattr("splitc.frontend.onnx.simplifier.subprocess.Popen", stand_in)


READ_JOB = "import json, sys; source, target, _, _ = json.loads(sys.stdin.readline())\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("raise SystemExit('out of luck')", r"onnxsim failed \(out of luck\)"),
        (READ_JOB + "import os; os.abort()", r"onnxsim failed \(it crashed\)"),
        (READ_JOB + "raise MemoryError('too much')", r"onnxsim failed \(MemoryError: too much\)"),
        (READ_JOB, "onnxsim failed"),
        ("", "onnxsim failed"),
        (READ_JOB + "open(target, 'wb').write(b'rubbish')", "onnxsim failed"),
        (
            READ_JOB + "import onnx; m = onnx.load(source); m.graph.output[0].name = 't1';"
            "onnx.save(m, target)",
            "onnxsim changed the model's inputs or outputs",
        ),
        (
            READ_JOB + "import onnx; m = onnx.load(source); m.graph.node[0].domain = 'else';"
            "onnx.save(m, target)",
            "onnxsim brought in operators of another domain",
        ),
        (
            READ_JOB + "import onnx; m = onnx.load(source); m.graph.node[0].input[0] = 'gone';"
            "onnx.save(m, target)",
            "what onnxsim made cannot be used",
        ),
    ],
    ids=["refuses", "aborts", "memory", "writes_nothing", "dies_early", "rubbish", "signature",
         "domain", "broken"],
)  # fmt: skip
def test_where_the_simplifier_fails_the_model_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch, script: str, expected: str
) -> None:
    simplifier_is(monkeypatch, script)
    loaded = splitc.load(chain("Relu", "Tanh"))
    assert [layer.name for layer in loaded.graph.layers] == ["x", "n0", "n1"]
    assert loaded.note.startswith("not simplified: ")
    assert re.search(expected, loaded.note), loaded.note


def test_a_simplifier_that_hangs_is_ended_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitc.frontend.onnx.simplifier.SIMPLIFY_SECONDS", 1)
    simplifier_is(monkeypatch, "import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(BadModelError, match=r"(?s)took too long.*--no-simplify") as caught:
        splitc.load(chain("Relu", "Tanh"))
    assert caught.value.exit_code == 3
    assert time.monotonic() - started < 10


def test_the_simplifier_does_not_run_code_from_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxsim", "json"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    assert splitc.load(chain("Relu", "Tanh")).note == ""
    assert not (tmp_path / "ran").exists()


def test_the_simplifier_does_not_wait_for_imports_that_it_has_no_use_for() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "splitc.frontend.onnx.run_onnxsim"]
    ended = subprocess.run(
        command, input="", capture_output=True, text=True, timeout=60, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "onnxsim" in imported
    assert not {"torch._C", "torch.nn", "sympy.core", "rich.table"} & imported


def test_the_time_that_the_simplifier_takes_is_the_callers_to_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sign = tmp_path / "sign"
    # Ends well only if what is to be done meanwhile was done while it was running.
    script = READ_JOB + (
        "import os, time, shutil\n"
        f"while not os.path.exists({str(sign)!r}): time.sleep(0.01)\n"
        "shutil.copy(source, target)"
    )
    simplifier_is(monkeypatch, script)
    assert splitc.load(chain("Relu"), meanwhile=sign.touch).note == ""
