# SPDX-License-Identifier: Apache-2.0
"""Manifests of bundles with several routes: what they may say, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle, require
from splitc.errors import BadBundleError, VerificationError
from tests.bundle.test_bundle import edit, rehash

Damage = Callable[[dict[str, Any]], Any]


@pytest.fixture
def copy(routed: Bundle, tmp_path: Path) -> Bundle:
    """The bundle with four routes, to be damaged."""
    shutil.copytree(routed.path, tmp_path / "routed.splitc")
    return Bundle.open(tmp_path / "routed.splitc")


def test_a_route_that_is_off_is_named(copy: Bundle) -> None:
    path = copy.path / "golden" / "routes" / "2" / "boundary" / "0.npy"
    crossing = np.load(path)
    np.save(path, crossing + np.float32(0.5) * crossing.max())
    rehash(copy)
    found = Bundle.open(copy.path).verify()
    assert found.failed == ("block_add",)
    assert found.routes["stem_relu"].passed(found.tolerance)
    with pytest.raises(VerificationError, match="on route 'block_add'") as caught:
        require(found)
    assert caught.value.at == "crossing tensor 'a1'"


def test_a_decoder_that_is_wrong_fails_its_route_alone(copy: Bundle) -> None:
    outputs = copy.path / "golden" / "routes" / "3" / "outputs" / "0.npy"
    values = np.load(outputs)
    np.save(outputs, np.roll(values, 1, axis=-1))
    rehash(copy)
    assert Bundle.open(copy.path).verify().failed == ("block_add:8bit",)


def twice(m: dict[str, Any]) -> None:
    m["routes"][1]["name"] = "stem_relu"


def nowhere(m: dict[str, Any]) -> None:
    m["routes"][1]["runs"]["device"].append("head-enc9")


def other_site(m: dict[str, Any]) -> None:
    m["routes"][0]["runs"]["device"].append("tail-dec1")


def again(m: dict[str, Any]) -> None:
    m["routes"][1]["runs"]["device"].append("head-s0")


def too_soon(m: dict[str, Any]) -> None:
    m["routes"][3]["runs"]["device"].reverse()


def left_out(m: dict[str, Any]) -> None:
    m["routes"][3]["runs"]["server"].remove("tail-dec3")


def unprintable(m: dict[str, Any]) -> None:
    m["routes"][1]["name"] = "stem\x1b[2J"


def golden(m: dict[str, Any]) -> None:
    m["parts"]["routes"] = m["parts"].pop("head-s1")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (twice, "no one route|two of one name"),
        (nowhere, "runs 'head-enc9'"),
        (other_site, "a route runs 'tail-dec1'"),
        (again, "runs a part twice"),
        (too_soon, "disagree about"),
        (left_out, "disagree about"),
        (unprintable, "the routes cannot be"),
        (golden, "there is no such part|a part is called 'routes'"),
    ],
)
def test_routes_that_cannot_be_are_refused(copy: Bundle, damage: Damage, why: str) -> None:
    edit(copy.path, damage)
    with pytest.raises(BadBundleError, match=why):
        Bundle.open(copy.path).check()


def remote(change: Callable[[list[dict[str, Any]]], Any]) -> Damage:
    return lambda m: change(m["remote"])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (remote(lambda r: r.pop()), "cannot choose a route"),
        (remote(lambda r: r[3].update(route=0)), "one route twice"),
        (remote(lambda r: r[3].update(route=256)), "256 routes at most"),
        (remote(lambda r: r[1].update(runs=["head-s0", "../head-enc1"])), "no folder beside it"),
        (remote(lambda r: r[1].update(runs=["head-enc1", "head-s0"])), "not the first"),
        (remote(lambda r: r[1].update(runs=["head-s0", "head-s1"])), "disagree about route"),
        (remote(lambda r: r[1]["expected"].update(head_ms=-1.0)), "no time"),
        (remote(lambda r: r[1]["expected"].update(head_ms=1.0, agreement=1.5)), "no share"),
        (remote(lambda r: r[1].update(name="other")), "disagree about route 'other'"),
    ],
)
def test_what_the_first_part_says_of_routes_that_is_not_so_is_refused(
    copy: Bundle, damage: Damage, why: str
) -> None:
    edit(copy.path / "head-s0", damage)
    rehash(copy)
    with pytest.raises(BadBundleError, match=why):
        Bundle.open(copy.path).check()
