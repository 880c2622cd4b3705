# SPDX-License-Identifier: Apache-2.0
"""Passes and pipelines: text form, failures, what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.errors import PassError, UsageError
from splitc.ir.model import GraphModel, Model
from splitc.ir.text import parse_graph
from splitc.passes.base import Pass, Pipeline, make_pass

M = TypeVar("M", bound=Model)
MODEL = GraphModel(
    parse_graph("%x = input() : 1x64\n%a = gemm(%x) {flops=100000} : 1x8\n%y = relu(%a) : 1x8")
)
BLOCKS = st.sampled_from(["exact", "paper"]).map(lambda r: make_pass("group-blocks", {"rule": r}))


def find_min_cut(head: str, bandwidth: str, loss: float) -> Pass:
    options = {"head": head, "bandwidth": bandwidth, "loss_rate": loss}
    return make_pass("find-min-cut", options)


CUTS = st.builds(
    find_min_cut,
    st.sampled_from(["rpi4", "rpi5"]),
    st.sampled_from(["1Mbit", "a, b) (c"]),
    st.floats(0, 0.99),
)


@settings(deadline=None)
@given(st.lists(st.one_of(BLOCKS, CUTS), max_size=4))
def test_a_pipeline_survives_printing_and_parsing(passes: list[Pass]) -> None:
    pipeline = Pipeline(tuple(passes))
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_the_text_names_only_options_that_differ_from_their_defaults() -> None:
    text = 'group-blocks, group-blocks(rule="paper"), find-min-cut(head="rpi5", loss_rate=0.1)'
    assert str(Pipeline.parse(text)) == text
    assert str(Pipeline.parse("")) == ""


def test_a_pipeline_finds_out_itself_what_changed() -> None:
    pipeline = Pipeline.parse("group-blocks, group-blocks, find-min-cut")
    model, steps = pipeline.trace(MODEL)
    assert [step.changed for step in steps] == [True, False, True]
    assert pipeline(MODEL) == model
    assert model.cut is not None
    assert MODEL.cut is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("group-block", "no 'group-block'"),
        ("group-blocks(rul=1)", "no option 'rul'"),
        ('group-blocks(rule="loose")', "option 'rule'"),
        ("group-blocks(rule=exact)", "malformed"),
        ('group-blocks(rule="exact"', "malformed"),
        ("group-blocks find-min-cut", "malformed"),
        ("find-min-cut(loss_rate=true)", "option 'loss_rate'"),
    ],
)
def test_malformed_pipelines_are_usage_errors(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Pipeline.parse(text)


@dataclass(frozen=True)
class LoseALayer(Pass):
    """Break its promise, or its precondition."""

    name: ClassVar[str] = "lose-a-layer"

    at: str = "ensures"

    def requires(self, model: Model) -> None:
        """Fail when told to."""
        if self.at == "requires":
            raise PassError("cannot start")

    def apply(self, model: M) -> M:
        """Change nothing, or fail."""
        if self.at == "apply":
            raise UsageError("cannot go on")
        return model

    def ensures(self, before: Model, after: Model) -> None:
        """Fail when told to."""
        if self.at == "ensures":
            raise PassError("a layer was lost")


@pytest.mark.parametrize(
    ("at", "what"),
    [("requires", "cannot start"), ("apply", "cannot go on"), ("ensures", "a layer was lost")],
)
def test_every_failure_names_the_pass(at: str, what: str) -> None:
    with pytest.raises((PassError, UsageError), match=f"^lose-a-layer: {what}"):
        Pipeline((make_pass("group-blocks", {}), LoseALayer(at)))(MODEL)


def test_find_min_cut_keeps_the_graph_and_sets_the_cut() -> None:
    after = make_pass("find-min-cut", {"bandwidth": "100kbit"})(MODEL)
    assert after.graph == MODEL.graph
    assert after.cut is not None
    assert after.cut.name == "a"
