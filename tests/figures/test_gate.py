# SPDX-License-Identifier: Apache-2.0
"""Gates as text, and what becomes of them."""

from __future__ import annotations

import re

import pytest

from splitc.bundle.bundle import Bundle
from splitc.errors import GateError, UsageError
from splitc.figures.gate import Gate, judge, parse_gates, require_gates
from splitc.figures.table import FIGURES, PRINTED
from splitc.figures.values import Values, of_bundle

TEXTS = {
    "head_ms>40": ("head_ms", ">", 40.0),
    "head_ms >= 0.2s": ("head_ms", ">=", 200.0),
    "total_ms>250us": ("total_ms", ">", 0.25),
    "boundary_bytes>65536": ("boundary_bytes", ">", 65536.0),
    "boundary_bytes>64kB": ("boundary_bytes", ">", 64000.0),
    "head_bytes > 1.5MiB": ("head_bytes", ">", 1.5 * 2**20),
    "accuracy_drop>1%": ("accuracy_drop", ">", 0.01),
    "accuracy<0.76": ("accuracy", "<", 0.76),
    "worst_error>1e-4": ("worst_error", ">", 1e-4),
    "fallback_kernels>0": ("fallback_kernels", ">", 0.0),
    "energy_mj<=0.1J": ("energy_mj", "<=", 100.0),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_gate_is_a_figure_a_comparison_and_a_limit_with_its_unit(text: str) -> None:
    gate = Gate.parse(text)
    assert (gate.figure.name, gate.how, pytest.approx(gate.limit)) == TEXTS[text]
    assert gate.route == ""


def test_a_route_stands_in_front_whatever_its_name() -> None:
    gate = Gate.parse("/c3/c3.0/relu:8bit:head_ms>40")
    assert (gate.route, gate.figure.name) == ("/c3/c3.0/relu:8bit", "head_ms")


BAD = {
    "head_ms": "'head_ms' is no gate[^$]*like head_ms>40",
    "head_ms=40": "'head_ms=40' is no gate",
    "heda_ms>40": "no figure 'heda_ms'[^$]*'head_ms'",
    "head_ms>40kB": "'40kB' is no value in ms[^$]*0.2s",
    "boundary_bytes>40ms": "is no value in bytes[^$]*64kB",
    "head_ms>": "no gate",
    "head_ms>abc": "is no value in ms",
    "head_ms>nan": "is no value in ms",
    "accuracy_drop>5": "is a share, from 0 to 1[^$]*accuracy_drop>5%",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_gate_says_what_one_is(text: str) -> None:
    with pytest.raises(UsageError, match=BAD[text]):
        Gate.parse(text)


def test_several_stand_in_one_text() -> None:
    gates = parse_gates(["head_ms>40; tail_ms>3", "link_ms>9;"], "compile")
    assert [gate.figure.name for gate in gates] == ["head_ms", "tail_ms", "link_ms"]


@pytest.mark.parametrize("verb", PRINTED)
def test_a_gate_on_what_a_verb_does_not_print_names_those_that_do(verb: str) -> None:
    for figure in FIGURES.values():
        text = f"{figure.name}>0"
        if verb in figure.verbs:
            assert parse_gates([text], verb)[0].figure is figure
        else:
            others = ", ".join(f"splitc {one}" for one in figure.verbs)
            with pytest.raises(UsageError, match=f"does not print[^$]*{re.escape(others)}$"):
                parse_gates([text], verb)


VALUES = Values(
    "manifest", {"a": {"head_ms": 40.0}, "b": {"head_ms": 50.0}, "c:8bit": {}}, default="a"
)
JUDGED = {
    "head_ms>40": [True],
    "head_ms>=40": [False],
    "head_ms<40": [True],
    "head_ms<=40": [False],
    "b:head_ms>45": [False],
    "*:head_ms>45": [True, False, False],
    "c:8bit:head_ms>45": [False],
}


@pytest.mark.parametrize("text", JUDGED)
def test_it_is_held_against_the_default_route_a_named_one_or_all(text: str) -> None:
    verdicts = judge([Gate.parse(text)], VALUES)
    assert [one.passed for one in verdicts] == JUDGED[text]


def test_a_figure_without_a_value_fails_and_says_what_it_needs() -> None:
    (verdict,) = judge([Gate.parse("accuracy_drop>1%")], VALUES)
    assert (verdict.passed, verdict.value) == (False, None)
    assert "labelled samples" in verdict.why


def test_a_route_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no 'c:8bits'[^$]*'c:8bit'"):
        judge([Gate.parse("c:8bits:head_ms>1")], VALUES)
    with pytest.raises(UsageError, match="no route 'd'[^$]*a"):
        parse_gates(["d:head_ms>1"], "compile", ["a", "b"])


def test_all_that_fail_are_named_at_once() -> None:
    gates = parse_gates(["head_ms>1;b:head_ms>2;head_ms>1000"], "compile")
    with pytest.raises(GateError, match="2 gates fail[^$]*40.000 ms[^$]*b: head_ms is 50.000") as e:
        require_gates(judge(gates, VALUES))
    assert e.value.exit_code == 9
    assert "1000" not in str(e.value)


def test_a_bundles_manifest_has_every_figure_of_that_source(compiled: Bundle) -> None:
    values = of_bundle(compiled)
    route = compiled.manifest.route
    found = values.by_route[route.name]
    needs_a_codec = {"codec_error", "agreement", "accuracy", "accuracy_drop"}
    wanted = {one.name for one in FIGURES.values() if "manifest" in one.sources}
    assert {*found} == wanted - needs_a_codec
    assert found["boundary_bytes"] == sum(spec.bytes for spec in route.crosses)
    assert found["head_ms"] == route.predicted.site_ms["device"]
    weights = compiled.path / "head" / "weights.bin"
    assert found["head_weight_bytes"] == weights.stat().st_size
    on_disk = sum(p.stat().st_size for p in (compiled.path / "head").rglob("*") if p.is_file())
    assert found["head_bytes"] == on_disk


def test_every_route_has_its_own_figures(routed: Bundle) -> None:
    values = of_bundle(routed)
    assert {*values.by_route} == {route.name for route in routed.manifest.routes}
    assert values.default == routed.manifest.default
    plain, coded = (values.by_route[name] for name in ("block_add", "block_add:8bit"))
    assert plain["boundary_bytes"] == 4 * coded["boundary_bytes"]
    assert coded["agreement"] <= 1.0
    assert "agreement" not in plain
