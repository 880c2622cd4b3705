# SPDX-License-Identifier: Apache-2.0
"""Recorded links: the files they come in, what passes when, and what is no trace."""

from __future__ import annotations

import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import UsageError
from splitc.link.link_trace import LinkTrace
from tests.helpers import ROOT

TRACES = ROOT / "examples" / "traces"
WANTED = ((0.0, 0.5, 2.0), (50e6, 10e6, 20e6), (0.0, 0.25, 0.01))
FILES = {
    "seconds": "time_s,bandwidth_mbit,loss\n0,50,0\n0.5,10,0.25\n2,20,0.01\n",
    "other units": "time_ms,bandwidth_kbit,loss_percent\n0,50000,0\n500,10000,25\n2000,20000,1\n",
    "another order": "loss, time_s, bandwidth_bps\n0,0,5e7\n.25,0.5,1e7\n0.01,2,2e7\n",
    "by the clock, with comments": (
        "# a walk\ntime_s,bandwidth_mbit,loss\n\n1700000000,50,0\n# here it rained\n"
        "1700000000.5,10,0.25\n1700000002,20,0.01\n"
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_trace_is_read_in_the_units_that_its_header_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(FILES[name], "utf-8")
    trace = LinkTrace.read(path)
    assert (trace.times_s, trace.bandwidth_bps, trace.loss_rates) == WANTED


def test_without_a_column_of_losses_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("time_s,bandwidth_mbit\n0,5\n1,6\n", "utf-8")
    assert LinkTrace.read(path).loss_rates == (0.0, 0.0)


def test_a_row_holds_until_the_next_and_the_last_for_good() -> None:
    trace = LinkTrace(*WANTED)
    found = [trace.at(when)[0] for when in (-1.0, 0.0, 0.499, 0.5, 1.999, 2.0, 1e6)]
    assert found == [50e6, 50e6, 50e6, 10e6, 10e6, 20e6, 20e6]
    assert trace.at(1.0)[1] == 0.25


def test_bits_pass_at_the_bandwidth_of_their_time() -> None:
    trace = LinkTrace([0, 1, 2, 3], [8.0, 0.0, 4.0, 16.0], [0, 0, 0, 0])
    assert trace.bits(0.5, 3.5) == 4 + 0 + 4 + 8
    assert trace.passed(0.5, 4) == 1.0
    assert trace.passed(1.2, 2) == 2.5, "while nothing passes it waits"
    assert trace.passed(0.5, 16) == 3.5
    assert trace.passed(10.0, 32) == 12.0


@given(
    st.lists(st.just(0.0) | st.floats(1, 1e9), min_size=1, max_size=6),
    st.floats(0, 8),
    st.floats(1, 1e9),
)
def test_what_has_passed_is_what_was_to_pass(rates: list[float], since: float, bits: float) -> None:
    trace = LinkTrace(range(len(rates) + 1), [*rates, 1e6], [0.0] * (len(rates) + 1))
    until = trace.passed(since, bits)
    assert until >= since
    assert trace.bits(since, until) == pytest.approx(bits, rel=1e-6, abs=1e-3)


BAD = {
    "empty": ("", "it is empty"),
    "no row": ("time_s,bandwidth_mbit\n", "it has no row"),
    "no unit": ("time,bandwidth_mbit\n0,1\n", "a column 'time'\n.*\n.*time_s"),
    "no bandwidth": ("time_s,loss\n0,0\n", "no column of bandwidth_bps"),
    "two bandwidths": (
        "time_s,bandwidth_bps,bandwidth_mbit\n0,1,1\n", "more than one column of bandwidth_bps"
    ),
    "another column": ("time_s,bandwidth_mbit,jitter\n0,1,1\n", "a column 'jitter'"),
    "an empty cell": ("time_s,bandwidth_mbit\n0,1\n# x\n1,\n", "line 4 of the trace has a hole"),
    "a short row": ("time_s,bandwidth_mbit,loss\n0,1,0\n1,2\n", "line 3 of the trace has a hole"),
    "a word": ("time_s,bandwidth_mbit\n0,fast\n", "line 2 of the trace is no row\n.*\n.*'fast'"),
    "back in time": ("time_s,bandwidth_mbit\n1,5\n0,5\n", "line 3 .*\n.*\n.*not after 1 s"),
    "twice a time": ("time_s,bandwidth_mbit\n1,5\n1,5\n", "line 3 .*\n.*\n.*not after 1 s"),
    "a negative bandwidth": ("time_s,bandwidth_mbit\n0,-5\n", "line 2 .*\n.*\n.*no bandwidth"),
    "no number": ("time_s,bandwidth_mbit\n0,nan\n", "line 2 .*\n.*\n.*no bandwidth"),
    "an endless time": ("time_s,bandwidth_mbit\ninf,5\n", "line 2 .*\n.*\n.*no time"),
    "all lost": ("time_s,bandwidth_mbit,loss\n0,5,1\n", r"line 2 .*\n.*\n.*not in \[0, 1\)"),
    "a loss in percent": ("time_s,bandwidth_mbit,loss\n0,5,20\n", "a loss of 20 is not in"),
    "nothing in the end": ("time_s,bandwidth_mbit\n0,5\n1,0\n", "line 3 .*\n.*\n.*holds for good"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_trace_is_a_usage_error_that_names_the_row(name: str, tmp_path: Path) -> None:
    text, why = BAD[name]
    path = tmp_path / "trace.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=why):
        LinkTrace.read(path)


@given(
    st.text("0123456789.,-+e#\n \tnaif_", max_size=60),
    st.sampled_from(["time_s,bandwidth_mbit\n", "loss_percent,time_ms,bandwidth_bps\n", ""]),
)
def test_whatever_stands_in_a_file_is_a_trace_or_a_usage_error(text: str, header: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        path.write_text(header + text, "utf-8")
        try:
            trace = LinkTrace.read(path)
        except UsageError:
            return
    assert trace.times_s[0] == 0.0
    assert trace.passed(1.0, 1e4) >= 1.0
    assert 0 <= trace.at(1.0)[1] < 1


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the trace"):
        LinkTrace.read(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="cannot read the trace"):
        LinkTrace.read(tmp_path / "binary.csv")


def test_columns_of_different_lengths_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="says nothing about a link"):
        LinkTrace([0, 1], [1, 2], [0])
    with pytest.raises(UsageError, match="row 2 of the trace is wrong"):
        LinkTrace([0, 1], [1, 2], [0, 2])


@pytest.mark.parametrize("name", ["dip", "walk"])
def test_the_example_traces_are_what_their_model_makes(name: str) -> None:
    made: dict[str, Any] = runpy.run_path(str(TRACES / "make_traces.py"))
    times, mbit, loss = made[name]()
    trace = LinkTrace.read(TRACES / f"{name}.csv")
    assert trace.times_s == tuple(times)
    np.testing.assert_allclose(trace.bandwidth_bps, mbit * 1e6, atol=6e3)
    np.testing.assert_allclose(trace.loss_rates, loss, atol=6e-5)
