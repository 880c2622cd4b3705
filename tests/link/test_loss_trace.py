# SPDX-License-Identifier: Apache-2.0
"""Recorded traces: the files they come in, and what is no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splitc.errors import UsageError
from splitc.link.loss_trace import loss_trace

WANTED = [False, True, True, False]
FILES = {
    "a line each": "0\n1\n1\n0\n",
    "one line": "0 1 1 0",
    "commas": "0, 1,1,\n0",
    "semicolons": "0;1;1;0",
    "comments": "# wifi, 2 m\n0 1\n\n# later\n1 0\n",
    "CSV": "time,lost\n0.00,0\n0.01,1\n0.02,1\n0.03,0\n",
    "CSV, another order": "lost, size\n0, 500\n1, 500\n1, 500\n0, 500\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_trace_is_read_from_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(FILES[name], "utf-8")
    assert loss_trace(path).tolist() == WANTED
    assert loss_trace(str(path)).tolist() == WANTED


def test_a_trace_is_read_from_numbers() -> None:
    for numbers in ([0, 1, 1, 0], np.array([0.0, 1, 1, 0]), np.array(WANTED)):
        assert loss_trace(numbers).tolist() == WANTED


BAD = {
    "empty": ("", "it is empty"),
    "only comments": ("# nothing\n", "it is empty"),
    "all lost": ("1 1 1", "it loses every packet"),
    "another number": ("0 1 2", "packet 2 of the trace is '2'"),
    "a fraction": ("0 0.5", "packet 1 of the trace is '0.5'"),
    "a word inside": ("0 1\n1 x", "packet 3 of the trace is 'x'"),
    "no such column": ("time,loss\n0,1\n", "no column 'lost'\n.*\n.*its columns are time, loss"),
    "a short row": ("time,lost\n0.1\n", "packet 0 of the trace is ''"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_trace_is_refused(name: str, tmp_path: Path) -> None:
    text, match = BAD[name]
    path = tmp_path / "trace.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=match):
        loss_trace(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the trace .*none\.txt\n.*No such file"):
        loss_trace(tmp_path / "none.txt")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read the trace .*\n.*decode"):
        loss_trace(binary)
