# SPDX-License-Identifier: Apache-2.0
"""`splitc simulate` as a user types it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.cli.schema import schema_of
from tests.helpers import ROOT
from tests.simulate.test_bundle_parts import labels

Capture = pytest.CaptureFixture[str]
TRACES = ROOT / "examples" / "traces"
LOSSY = ("--link-model", "iid(0.2)", "--bandwidth", "9Mbit", "--rtt", "10ms")


def simulated(bundle: Bundle, capsys: Capture, *more: str) -> dict[str, Any]:
    """What it prints as JSON, which keeps its schema."""
    assert run(["simulate", str(bundle.path), *more, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schema_of("simulate"))
    return found


@pytest.fixture
def files(small: Bundle, images: Array, tmp_path: Path) -> tuple[str, ...]:
    """Frames and their labels."""
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.array(labels(small, images)))
    return "--input", str(tmp_path / "images.npy"), "--labels", str(tmp_path / "labels.npy")


def test_inputs_and_labels_give_accuracy(
    small: Bundle, files: tuple[str, ...], capsys: Capture
) -> None:
    found = simulated(small, capsys, *files, "--bandwidth", "9Mbit", "--mtu", "576")
    (one,) = found["runs"]
    assert (one["accuracy"], one["share"], one["unanswered"]) == (1.0, 1.0, 0)
    assert (found["frames"], found["values"]) == (24, True)
    lossy = simulated(small, capsys, *files, *LOSSY, "--mtu", "576", "--frames", "200")
    assert 0.1 < lossy["runs"][0]["accuracy"] < 1.0
    assert lossy["frames"] == 200


def test_transports_are_compared_over_one_link(small: Bundle, capsys: Capture) -> None:
    found = simulated(small, capsys, *LOSSY, "--frames", "60", "--compare", "transports")
    by_name = {one["name"]: one for one in found["runs"]}
    assert {"udp", "resend", "tcp"} <= set(by_name)
    assert by_name["udp"]["share"] < by_name["tcp"]["share"] == 1.0
    assert by_name["tcp"]["notes"] and not by_name["udp"]["notes"]
    assert found["link"] == {
        "model": "iid(0.2)", "bandwidth_bps": 9e6, "rtt_s": 0.01, "jitter_s": 0.0,
        "queue_bytes": 256 * 1024,
    }  # fmt: skip
    two = simulated(small, capsys, "--transport", "udp,resend", "--frames", "5", "--seed", "3")
    assert [one["name"] for one in two["runs"]] == ["udp", "resend"]


def test_what_is_late_is_counted_by_the_limit_that_is_named(small: Bundle, capsys: Capture) -> None:
    late = simulated(small, capsys, *LOSSY, "--frames", "20", "--within", "1ms")
    kept = simulated(small, capsys, *LOSSY, "--frames", "20", "--within", "900ms")
    assert (late["runs"][0]["missed"], kept["runs"][0]["missed"]) == (20, 0)
    assert (late["within_s"], kept["within_s"]) == (0.001, 0.9)


def test_people_get_a_table_of_80_columns(
    small: Bundle, files: tuple[str, ...], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    more = ("--compare", "transports", "--rate", "3", "--link-model", str(TRACES / "walk.csv"))
    assert run(["simulate", str(small.path), *files, *more]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert "24 frames of" in lines[0] and "walk.csv, rtt 5 ms" in lines[0]
    assert lines[1].split() == ["share", "mean", "p50", "p95", "p99", "ms", "missed", "right", "mJ"]
    assert [line.split()[0] for line in lines[2:4]] == ["udp", "resend"]
    assert all(len(line) <= 80 for line in lines[1:6])
    assert "tcp is modelled" in shown.out
    assert "simulating udp" in shown.err
    assert run(["simulate", str(small.path), "--frames", "3", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert not shown.err


@pytest.mark.parametrize("name", ["figure.svg", "figure.png"])
def test_a_picture_is_drawn(small: Bundle, tmp_path: Path, capsys: Capture, name: str) -> None:
    pytest.importorskip("matplotlib")
    more = ("--link-model", str(TRACES / "dip.csv")) if name.endswith("svg") else LOSSY
    path = tmp_path / name
    simulated(small, capsys, "--frames", "30", "--transport", "udp,tcp", *more, "--plot", str(path))
    if name.endswith("svg"):
        assert Xml.parse(path).getroot().tag.endswith("svg")
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


BAD = {
    "no such bundle": (("nothing",), 2, "there is no bundle"),
    "no such transport": (("", "--transport", "udp,smoke"), 2, "no transport 'smoke'"),
    "nothing to compare": (("", "--compare", "colours"), 2, "no comparing of 'colours'"),
    "no such times": (("", "--times", "guessed"), 2, "no times 'guessed'"),
    "no such model": (("", "--link-model", "iid"), 2, "no link model 'iid'"),
    "no such route": (("", "--route", "side"), 2, "no route 'side'"),
    "two bandwidths": (
        ("", "--link-model", str(TRACES / "dip.csv"), "--bandwidth", "1Mbit"), 2, "two bandwidths"
    ),
    "labels of nothing": (("", "--labels", "y.npy"), 2, "--labels are of no use"),
    "values or none": (("", "--no-values", "--input", "x.npy"), 2, "one of --input and"),
    "no picture": (("", "--plot", "figure.txt"), 2, "'figure.txt' is no picture"),
    "no size": (("", "--queue", "much"), 2, "'much' is no size"),
    "no spread": (("", "--spread", "9"), 2, "spread 9 is not from 0 to 2"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_a_named_error(small: Bundle, capsys: Capture, what: str) -> None:
    (bundle, *more), code, why = BAD[what]
    assert run(["simulate", bundle or str(small.path), *more]) == code
    assert why in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_a_named_error(
    small: Bundle, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "no" / "figure.svg"
    assert run(["simulate", str(small.path), "--frames", "2", "--plot", str(path)]) != 0
    assert "cannot write" in capsys.readouterr().err
