# SPDX-License-Identifier: Apache-2.0
"""Long sweeps: gone on with after a kill, refused where they are of something else, spread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from splitc.errors import OutputError, UsageError
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.grid import Grid, Point
from splitc.search.scenario import Scenario
from splitc.search.sweep import Key, Search
from splitc.sweep.bests import Found, Here, Workers, find_bests
from splitc.sweep.cluster import Cluster
from splitc.sweep.journal import Journal
from tests.helpers import ROOT, needs_ray

GRAPH = parse_graph(
    """
    %x = input() : 1x3x64x64
    %a = conv(%x) {flops=20000000} : 1x16x64x64
    %b = conv(%a) {flops=60000000} : 1x32x16x16
    %c = conv(%b) {flops=200000000} : 1x16x4x4
    %y = gemm(%c) : 1x10
    """
)
GRID = Grid(tuple(k / 10 for k in range(10)), (0.0, 0.5), (50e6, 10e6))
SEARCH = Search.of(GRAPH, Scenario.of(tail="x86-64-v3", link=Link("20Mbit")))


def journal(path: Path, *, inputs: str = "", sha256: str = "aa", resume: bool = False) -> Journal:
    return Journal(path, model="net.onnx", sha256=sha256, inputs=inputs, resume=resume)


class Stopping(Workers):
    """Stops like Ctrl-C after some batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self.asked = 0

    def each(self, search: Search, batches: Sequence[Sequence[Point]]) -> Iterator[Found]:
        self.asked = sum(map(len, batches))
        for count, found in enumerate(Here().each(search, batches)):
            if count == self.batches:
                raise KeyboardInterrupt
            yield found


def test_a_sweep_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "plan.json.partial"
    whole = find_bests(SEARCH, GRID.points)
    with journal(path) as begun, pytest.raises(KeyboardInterrupt):
        find_bests(SEARCH, GRID.points, begun, Stopping(2))
    with journal(path, resume=True) as again:
        done = len(again.known)
        assert 0 < done < len(GRID.points)
        last = Stopping(99)
        assert find_bests(SEARCH, GRID.points, again, last) == whole
        assert last.asked == len(GRID.points) - done
        again.finish()
    assert not path.exists()


def test_a_line_that_a_kill_tore_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "plan.json.partial"
    with journal(path) as begun, pytest.raises(KeyboardInterrupt):
        find_bests(SEARCH, GRID.points, begun, Stopping(1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with journal(path, resume=True) as again:
        assert len(again.known) == 15
        assert find_bests(SEARCH, GRID.points, again) == find_bests(SEARCH, GRID.points)
    assert path.read_bytes().startswith(whole[: whole.rindex(b"\n", 0, -1) + 1])


def test_a_killed_process_loses_no_condition_that_was_done(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from splitc.search.grid import Point
from splitc.sweep.journal import Journal
with Journal(Path(sys.argv[1]), model="net.onnx", sha256="aa", inputs="", resume=False) as one:
    for k in range(7):
        one.add(Point(k / 10, 0.0, 1e6), [k, []])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "plan.json.partial"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    with journal(path, resume=True) as again:
        assert again.known == {Point(k / 10, 0.0, 1e6): [k, []] for k in range(7)}


def test_an_unfinished_sweep_is_not_overwritten_and_of_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan.json.partial"
    with journal(path) as begun:
        begun.add(GRID.points[0], [2, []])
    with pytest.raises(UsageError, match="there is an unfinished sweep") as caught:
        journal(path)
    assert "--resume" in caught.value.hint
    with pytest.raises(UsageError, match="cannot go on") as caught:
        journal(path, sha256="bb", resume=True)
    assert "it is of the model 'net.onnx'" in caught.value.why
    with pytest.raises(UsageError, match="cannot go on") as caught:
        journal(path, inputs="another link", resume=True)
    assert "other options" in caught.value.why
    with pytest.raises(UsageError, match="cannot go on"):
        journal(tmp_path / "none.partial", resume=True)
    with pytest.raises(OutputError, match="cannot write"):
        journal(tmp_path / "none" / "plan.json.partial")


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n", b"\xff\n", b"[" * 9999 + b"\n"])
def test_what_is_no_unfinished_sweep_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "plan.json.partial"
    path.write_bytes(text)
    with pytest.raises(UsageError, match="cannot go on") as caught:
        journal(path, resume=True)
    assert "no file of an unfinished sweep" in caught.value.why


@pytest.mark.parametrize("value", [None, [1], [99, []], [2, [99]], ["a", []]])
def test_cuts_that_there_are_not_are_refused(tmp_path: Path, value: object) -> None:
    with journal(tmp_path / "plan.json.partial") as begun:
        begun.add(GRID.points[0], value)
        with pytest.raises(UsageError, match="the unfinished sweep is damaged"):
            find_bests(SEARCH, GRID.points, begun)


@needs_ray
def test_a_cluster_finds_what_one_process_finds() -> None:
    found = find_bests(SEARCH, GRID.points, workers=Cluster("local"))
    assert found == find_bests(SEARCH, GRID.points)
    assert all(isinstance(key, Key) for key in found)
