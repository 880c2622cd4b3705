# SPDX-License-Identifier: Apache-2.0
"""Times of layers from files: anyone's instance, priced by hand here, and what is no profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.cost.prices import BoardCost
from splitc.cost.profile import SCHEMA, Profile, ProfileCost, read_profile, write_profile
from splitc.errors import UsageError
from splitc.ir.text import parse_graph
from splitc.search.find import find_cuts

# Two branches behind a; sizes and times are small and round.
GRAPH = """
%x = input() : 1000
%a = op(%x) : 500
%b = op(%a) : 100
%c = op(%a) : 400
%d = op(%b, %c) : 10
return %d
"""
DEVICE = {"a": 2.0, "b": 4.0, "c": 3.0, "d": 5.0}
SERVER = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 1.0}
LINK = splitc.Link("8Mbit", rtt="1ms", mtu=60_000)


def profile(layers: dict[str, float], **more: Any) -> Profile:
    return Profile(
        schema=SCHEMA, kind="splitc-profile", machine="a lab bench", layers=layers, **more
    )


def test_anyones_instance_is_priced_by_its_own_times() -> None:
    graph = parse_graph(GRAPH)
    head = ProfileCost(load_board("rpi4"), profile(DEVICE))
    tail = ProfileCost(load_board("x86-64-v3"), profile(SERVER))
    table = find_cuts(graph, head=head, tail=tail, link=LINK)
    assert table.costs.label == "measured on a lab bench (head) and measured on a lab bench (tail)"
    sent = {name: LINK.transfer_s(4 * size) for name, size in (("a", 500), ("b", 100), ("d", 10))}
    by_hand = {
        "a": 2e-3 + sent["a"] + 1e-3 + 4e-3 + sent["d"],
        # b in the head: both a, which c reads, and b cross.
        "b": 6e-3 + sent["a"] + sent["b"] + 1e-3 + 3e-3 + sent["d"],
    }
    for name, seconds in by_hand.items():
        row = table.row(splitc.Cut.after(graph, [name]))
        assert row.cost.latency_s == pytest.approx(seconds)
    assert table.device.cost.latency_s == pytest.approx(14e-3)
    assert table.best.cost.latency_s <= min(by_hand.values())


def test_layers_that_a_profile_does_not_know_are_predicted_for_its_board() -> None:
    graph = parse_graph(GRAPH)
    board = load_board("rpi4")
    got = ProfileCost(board, profile({"a": 2.0, "d": 0.0})).seconds(graph)
    guess = BoardCost(board).seconds(graph)
    assert got == (0.0, 2e-3, guess[2], guess[3], 0.0)


def test_a_profile_is_written_and_read_back(tmp_path: Path) -> None:
    made = profile(DEVICE, versions={"splitc": "1"}, note="warm", figures="predicted")
    write_profile(tmp_path / "p.json", made)
    assert read_profile(tmp_path / "p.json") == made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "plan"}, "is no profile"),
        ({"layers": {"a": -1.0}}, "is no profile"),
        ({"layers": {"a": "fast"}}, "is no profile"),
        ({"units": "s"}, "unknown field"),
        ({"schema": 9}, "has schema 9"),
    ],
)
def test_what_is_no_profile_is_named(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    good = {"schema": 1, "kind": "splitc-profile", "machine": "m", "layers": {"a": 1.0}}
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**good, **change}), "utf-8")
    with pytest.raises(UsageError, match=".") as caught:
        read_profile(path)
    assert says in str(caught.value)
    with pytest.raises(UsageError, match="there is no profile"):
        read_profile(tmp_path / "other.json")


def test_a_profile_of_another_network_is_refused() -> None:
    cost = ProfileCost(load_board("rpi4"), profile({"conv9": 1.0}))
    with pytest.raises(UsageError, match="of another network") as caught:
        find_cuts(parse_graph(GRAPH), head=cost)
    assert "'conv9'" in caught.value.why


def test_a_graph_in_text_is_cut_with_explicit_costs_and_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "g.txt").write_text(GRAPH, "utf-8")
    write_profile(tmp_path / "head.json", profile(DEVICE))
    write_profile(tmp_path / "tail.json", profile(SERVER))
    given = [
        "cuts", str(tmp_path / "g.txt"), "--profile", str(tmp_path / "head.json"),
        "--tail-profile", str(tmp_path / "tail.json"), "--bandwidth", "8Mbit", "--rtt", "1ms",
    ]  # fmt: skip
    assert run([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["proof"]["type"] == "flow"
    assert run(given) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Times are measured on a lab bench (head) and measured on a lab bench (tail)" in out
    (tmp_path / "g.txt").write_text("%a = ", "utf-8")
    assert run(given) == 3
    assert "line 1" in capsys.readouterr().err
