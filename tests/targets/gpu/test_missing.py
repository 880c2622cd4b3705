# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What compiling for a GPU needs is asked for before anything is read, and told by `doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import splitc
from splitc.cli.app import run
from splitc.cost import gpu_driver
from splitc.errors import DeviceError, ToolchainError
from splitc_targets.gpu import cuda


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without NVIDIA's compiler."""
    cuda._compiler.cache_clear()
    monkeypatch.setattr(cuda, "_candidates", list[Path])
    yield
    cuda._compiler.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_a_missing_compiler_is_told_before_the_model_is_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ToolchainError, match="the CUDA compiler is missing") as raised:
        splitc.compile("absent.onnx", head="rpi4", tail="cuda-sm90")
    assert raised.value.hint == "pip install 'splitc[cuda]'"
    assert run(["doctor", "--json"]) == 0
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    hint = checks["CUDA compiler"]["hint"]
    assert "pip install 'splitc[cuda]'" in hint
    assert "targets like cuda-sm90" in hint


def test_a_gpu_that_the_compiler_knows_no_more_is_told_with_those_it_knows() -> None:
    with pytest.raises(ToolchainError, match="makes no code for sm_50") as raised:
        cuda.require("sm_50")
    assert "sm_90" in raised.value.why


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a GPU")
def test_the_board_of_a_gpu_that_is_not_here_is_refused_and_listed_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(DeviceError, match="there is no CUDA driver here") as raised:
        gpu_driver.cuda_gpus()
    assert "--gpus all" in raised.value.hint
    assert run(["compile", "absent.onnx", "--tail-target", "host-gpu"]) == 8
    assert "there is no CUDA driver here" in capsys.readouterr().err
    assert run(["targets"]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("host-gpu")]
    assert line.split()[-2:] == ["none", "here"]
