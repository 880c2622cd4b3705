# SPDX-License-Identifier: Apache-2.0
"""A split network whose states are handed on from call to call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.errors import UsageError
from tests.helpers import model_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Sums of what came so far, and half of each."""
    nodes = [
        helper.make_node("Add", ["x", "s"], ["sum"], "sum"),
        helper.make_node("Mul", ["sum", "half"], ["y"], "y"),
    ]
    proto = model_of(
        nodes, {"x": (1, 4), "s": (1, 4)}, ["y", "sum"], {"half": np.array(0.5, np.float32)}
    )
    folder = tmp_path_factory.mktemp("stream") / "sums.splitc"
    return splitc.compile(
        splitc.load(proto), cut="sum", head="host", tail="host", output=folder, name="sums"
    )


def frames(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.arange(count * 4, dtype=np.float32).reshape(count, 1, 4)


def test_each_call_begins_from_what_the_last_one_left(bundle: Bundle) -> None:
    x = frames(5)
    with bundle.open_parts() as split:
        total = split.stream({"s": "sum"})
        for number in range(3):
            np.testing.assert_array_equal(total(x[number])["sum"], x[: number + 1].sum(0))
        np.testing.assert_array_equal(total({"x": x[3:]})["y"], x.cumsum(0)[3:] / 2)
        total.reset()
        np.testing.assert_array_equal(total(x[1])["sum"], x[1])
        total.reset({"s": x[2]})
        np.testing.assert_array_equal(total(x[1])["sum"], x[1] + x[2])


def test_a_call_that_is_refused_leaves_the_state(bundle: Bundle) -> None:
    x = frames(2)
    with bundle.open_parts() as split:
        total = split.stream({"s": "sum"})
        total(x[0])
        with pytest.raises(UsageError, match="no input 's'"):
            total({"x": x[0], "s": x[1]})
        with pytest.raises(UsageError, match="'x' is no state"):
            total.reset({"x": x[1]})
        with pytest.raises(UsageError, match="does not fit"):
            total.reset({"s": np.zeros((1, 3), np.float32)})
        np.testing.assert_array_equal(total(x[1])["sum"], x.sum(0))


def test_states_that_do_not_fit_are_refused(bundle: Bundle) -> None:
    with bundle.open_parts() as split:
        with pytest.raises(UsageError, match="no input 'z'"):
            split.stream({"z": "sum"})
        with pytest.raises(UsageError, match="no result 'z'"):
            split.stream({"s": "z"})


def test_frames_of_a_file_are_a_sequence(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", frames(4))
    command = ["run", str(bundle.path), "--input", str(tmp_path / "x.npy")]
    assert run([*command, "--state", "s=sum", "--out", str(tmp_path / "out")]) == 0
    wanted = frames(4).cumsum(0)
    found = np.load(tmp_path / "out" / "1.npy")
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("text", ["s", "s=", "=sum", "s=sum,s=y", ""])
def test_a_pair_that_is_none_is_a_usage_error(
    text: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", frames(1))
    assert run(["run", str(bundle.path), "--input", str(tmp_path / "x.npy"), "--state", text]) == 2
    assert "is no new pair" in capsys.readouterr().err
