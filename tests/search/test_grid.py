# SPDX-License-Identifier: Apache-2.0
"""Files of conditions: read, or refused with what is wrong and how it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitc.errors import UsageError
from splitc.search.grid import PAPER, Grid, Point, read_grid
from tests.helpers import ROOT


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_has_sixty_conditions() -> None:
    grid = read_grid(ROOT / "examples" / "conditions.toml")
    assert len(grid.points) == 60
    assert grid.points[0] == Point(0.0, 0.0, 50e6)


def test_what_is_left_out_is_idle_or_the_papers(tmp_path: Path) -> None:
    grid = read_grid(written(tmp_path, "cpu = [0.5, 0]"))
    assert grid == Grid((0.0, 0.5), (0.0,), PAPER.bandwidths_bps)
    grid = read_grid(written(tmp_path, 'bandwidth = ["250kbit", "2.5MB/s"]'))
    assert grid == Grid((0.0,), (0.0,), (20e6, 250e3))


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("bandwidth = [10]", "bandwidth 10 has no unit", '"10Mbit"'),
        ('bandwidth = ["10"]', "bandwidth '10' has no unit", '"10Mbit"'),
        ('bandwidth = ["10 parsecs"]', "is no bandwidth", "20Mbit"),
        ("bandwidth = []", "no bandwidth", "examples/conditions.toml"),
        ('bandwidth = "10Mbit"', "is no list", "in [ ]"),
        ("", "the grid of conditions is empty", "examples/conditions.toml"),
        ("cpu = []", "no cpu", "examples/conditions.toml"),
        ("cpu = [1.0]", "CPU stress 1 is not in", ""),
        ("memory = [0.0, 1.5]", "memory stress 1.5 is not in", ""),
        ("cpu = [nan]", "CPU stress nan", ""),
        ("cpu = ['much']", "cpu 'much' is no share", "[0.0, 0.3, 0.9]"),
        ("cpu = [true]", "cpu True is no share", ""),
        ("cpu = [0.1, 0.1]", "one cpu twice", ""),
        ("bandwith = ['10Mbit']", "no condition 'bandwith'", "'bandwidth'"),
        ("cpu = [0.1", "cannot read conditions", "examples/conditions.toml"),
    ],
)
def test_what_is_no_grid_is_refused_by_name(
    tmp_path: Path, text: str, what: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_grid(written(tmp_path, text))
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_a_file_that_is_not_there_or_too_large_a_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file '.*none\.toml'"):
        read_grid(tmp_path / "none.toml")
    many = tuple(k / 200 for k in range(200))
    with pytest.raises(UsageError, match="40,000 conditions"):
        Grid(many, many, (1e6,))
