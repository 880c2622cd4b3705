# SPDX-License-Identifier: Apache-2.0
"""The report as a page: made from the bundle alone, told to everyone, obeying no name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.errors import UsageError
from splitc.reporting.make import write
from tests.reporting.facts import HOSTILE, chain, facts_of, table_of

LARGEST = 300_000


class Elements(HTMLParser):
    """Which elements a page has, with their attributes, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


def test_the_page_of_a_bundle_is_made_from_the_bundle_alone(
    compiled: Bundle, routed: Bundle
) -> None:
    for bundle in (compiled, routed):
        page = splitc.report(bundle.path)
        assert page == (bundle.path / "report.html").read_text("utf-8")
        assert page == splitc.report(bundle)


def test_a_page_loads_nothing_and_runs_nothing(compiled: Bundle) -> None:
    page = Elements(splitc.report(compiled))
    tags = {tag for tag, _ in page.found}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for _, attributes in page.found:
        assert not {name for name in attributes if name.startswith("on")} | (
            {"src", "srcset", "action", "xlink:href"} & attributes.keys()
        )
        assert (attributes.get("href") or "#").startswith("#")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_markup(compiled: Bundle, name: str) -> None:
    names = tuple(f"{name}{k}" for k in range(6))
    plain = Elements(write(facts_of(compiled, table_of(chain(6, tuple("abcdef"))))))
    facts = facts_of(compiled, table_of(chain(6, names)), name)
    text = write(facts)
    page = Elements(text)
    # A long text has a span of its own, which breaks lines.
    tags, wanted = ([t for t, _ in each.found if t != "span"] for each in (page, plain))
    assert tags == wanted
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


def test_every_chart_is_told_in_words(routed: Bundle) -> None:
    page = Elements(splitc.report(routed))
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [attributes for tag, attributes in page.found
              if tag == "svg" and attributes.get("role") == "img"]  # fmt: skip
    assert len(charts) == 8
    for one in charts:
        named = (one["aria-labelledby"] or "").split()
        assert len(named) == 2
        assert set(named) <= set(ids)


def test_the_page_says_which_cut_wins_where(compiled: Bundle) -> None:
    facts = facts_of(compiled, table_of(chain(40)))
    text = " ".join(Elements(write(facts)).text)
    for one in facts.reigns:
        assert facts.label(facts.data.candidates[one.line]) in text
    assert "this link 18.9 Mbit/s" in text


def test_the_page_has_the_codecs_and_the_routes(routed: Bundle) -> None:
    text = " ".join(Elements(splitc.report(routed)).text)
    assert "quantize-boundary" in text
    assert "Which route wins over which link" in text
    assert "a after stem_relu, 4.6 kB; b after block_add, 4.6 kB" in text


def test_the_page_says_what_the_bundle_is_made_of(compiled: Bundle) -> None:
    text = splitc.report(compiled)
    for value in (compiled.manifest.source.sha256, *compiled.manifest.tools.values()):
        assert value in text


def test_a_network_of_two_thousand_layers_has_a_small_page(compiled: Bundle) -> None:
    facts = facts_of(compiled, table_of(chain(2000)))
    assert len(write(facts).encode()) <= LARGEST


def test_an_unknown_format_is_refused(compiled: Bundle) -> None:
    with pytest.raises(UsageError, match="no format 'pdf'"):
        splitc.report(compiled, format="pdf")  # pyright: ignore[reportArgumentType]


def test_a_part_that_was_altered_has_no_report(bundle: Bundle) -> None:
    path = bundle.path / "head" / "manifest.json"
    path.write_text(path.read_text("utf-8").replace("cortex-a72", "cortex-a73"), "utf-8")
    with pytest.raises(splitc.SplitcError, match="was altered"):
        splitc.report(bundle.path)


def test_an_unwritten_file_is_no_measurement(compiled: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        splitc.report(compiled, measured=[tmp_path / "none.json"])


@pytest.mark.parametrize("side", ["device", "server"])
def test_a_network_that_is_not_split_has_a_page_too(
    small_onnx: Path, tmp_path: Path, side: str
) -> None:
    bundle = splitc.compile(small_onnx, cut=side, emit="onnx", output=tmp_path / "whole.splitc")
    text = " ".join(Elements(splitc.report(bundle)).text)
    assert f"small, all on the {side}" in text
    assert "Nothing is split" in text
    assert f"all on the {side}" in splitc.report(bundle, format="md").splitlines()[0]
