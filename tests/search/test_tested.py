# SPDX-License-Identifier: Apache-2.0
"""Files of tested networks: read back as written, refused with the place and the reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from splitc.errors import UsageError
from splitc.link.arrivals import Shares
from splitc.search.tested import Trained, read_tested, write_tested
from tests.helpers import ROOT
from tests.search.lossy import TESTED

ONE = """
schema = 1
[[networks]]
cut = "b"
dropout_rate = "0.4"
bits = 8
loss_rates = [0.0, 0.5]
accuracy = [91.0, 80.0]
"""


def written(folder: Path, text: str, name: str = "tested.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "tested.json"
    write_tested(path, TESTED)
    assert read_tested(path) == TESTED


def test_toml_reads_too(tmp_path: Path) -> None:
    assert read_tested(written(tmp_path, ONE)) == (Trained("b", "0.4", {0.0: 91.0, 0.5: 80.0}, 8),)


def test_the_manuals_example_reads(tmp_path: Path) -> None:
    manual = (ROOT / "docs" / "adaptive.md").read_text("utf-8")
    (example,) = [part for part in manual.split("```") if part.startswith("toml\nschema")]
    (one,) = read_tested(written(tmp_path, example.removeprefix("toml")))
    assert (one.cut, one.dropout_rate, one.bits) == ("layer2.2.relu2", "mixed", 8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", r"of format 2, this splitc reads 1"),
        ("schema = 1", "", "missing required field `schema`"),
        ('cut = "b"', "cut = 3", r"Expected `str`, got `int` - at `\$.networks\[0\].cut`"),
        ('cut = "b"', 'cut = "b"\nbit = 3', "unknown field `bit`"),
        ("[0.0, 0.5]", "[0.0]", r"one accuracy(.|\n)*network 0 of .*\n.*1 loss rates, 1 different"),
        ("[0.0, 0.5]", "[0.0, 0.0]", "2 loss rates, 1 different, 2 accuracies"),
        ("[0.0, 0.5]", "[0.1, 0.5]", r"impossible loss rates\n.*network 0"),
        ("[0.0, 0.5]", "[0.0, 1.0]", "impossible loss rates"),
        ("[91.0, 80.0]", "[91.0, 180.0]", "outside 0 to 100"),
        ("[91.0, 80.0]", "[91.0, nan]", "are finite"),
        ("bits = 8", "bits = 17", r"'b' with 17 bits\n(.|\n)*1 to 16"),
        ("[[networks]]", "[[networks", r"tested.toml.* is no file of tested networks\n.*\n.*why"),
    ],
)
def test_what_is_no_such_file_is_refused_by_name(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_tested(written(tmp_path, ONE.replace(old, new)))


def test_files_that_hold_nothing_or_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)no file of tested networks.*No such file"):
        read_tested(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="it has 0 networks"):
        read_tested(written(tmp_path, json.dumps({"schema": 1, "networks": []}), "a.json"))
    with pytest.raises(UsageError, match="is no file of tested networks"):
        read_tested(written(tmp_path, "[" * 100_000, "deep.json"))
    with pytest.raises(UsageError, match="it is over 4194304 bytes"):
        read_tested(written(tmp_path, "#" * (4 * 2**20 + 1)))
    with pytest.raises(UsageError, match=r"written as JSON\n.*ends in .json"):
        write_tested(tmp_path / "a.toml", TESTED)
    with pytest.raises(UsageError, match="cannot write"):
        write_tested(tmp_path / "none" / "a.json", TESTED)


def test_between_measured_rates_accuracy_is_linear_and_beyond_them_refused() -> None:
    one = Trained("a", "0", {0.0: 92.0, 0.2: 80.0, 0.6: 30.0})
    assert one.at(0.1) == pytest.approx(86.0)
    assert one.at(0.4) == pytest.approx(55.0)
    with pytest.raises(UsageError, match=r"loss rate of 0.7\n.*measured up to 0.6"):
        one.at(0.7)


def test_what_is_missing_beyond_what_was_measured_counts_as_wrong() -> None:
    one = Trained("a", "0", {0.0: 92.0, 0.2: 80.0, 0.6: 30.0})
    shares = Shares(np.array([0.0, 0.4, 1.0]), np.array([0.5, 0.25, 0.25]))
    assert one.expected(shares) == pytest.approx(0.5 * 92 + 0.25 * 55)
