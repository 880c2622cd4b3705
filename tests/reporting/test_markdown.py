# SPDX-License-Identifier: Apache-2.0
"""The report as Markdown, read by a Markdown parser that nobody here wrote."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

import splitc
from splitc.bundle.bundle import Bundle
from splitc.figures.markdown import plain_markdown
from splitc.reporting.make import write
from splitc.reporting.markdown import code
from tests.reporting.facts import HOSTILE, chain, facts_of, table_of

READ = MarkdownIt("commonmark").enable("table")
HTML = {"<details><summary>Provenance</summary>\n", "</details>\n", "</details>"}


def inside(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *(token.children or ()))]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_markup(compiled: Bundle, name: str) -> None:
    names = tuple(f"{name}{k}" for k in range(6))
    kinds: list[list[str]] = []
    for facts in (
        facts_of(compiled, table_of(chain(6, tuple("abcdef")))),
        facts_of(compiled, table_of(chain(6, names)), name),
    ):
        tokens = inside(READ.parse(write(facts, "md")))
        kinds.append([token.type for token in tokens])
        assert {t.content for t in tokens if t.type.startswith("html")} <= HTML
        assert not [t for t in tokens if t.type in ("link_open", "image", "html_inline")]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    table = f"| a | b |\n| :-- | --: |\n| {code(name)} | 1 |\n"
    cells = [t for t in inside(READ.parse(table)) if t.type == "code_inline"]
    assert [t.content for t in cells] == [shown if shown.strip() else cells[0].content]
    (line,) = [t for t in READ.parse(plain_markdown("x" + name)) if t.type == "inline"]
    kinds = {t.type for t in line.children or ()}
    assert kinds <= {"text", "text_special", "softbreak"}


def test_it_has_the_figures_the_cuts_and_where_it_comes_from(
    compiled: Bundle, routed: Bundle
) -> None:
    text = splitc.report(compiled, format="md")
    assert "| ▸ `block_add` | 4.6 kB |" in text
    assert "| all on the device | – |" in text
    assert compiled.manifest.source.sha256 in text
    text = splitc.report(routed, format="md")
    assert "4 routes" in text
    assert "| `block_add:8bit` | `quantize-boundary" in text


def test_every_row_has_as_many_cells_as_its_head(routed: Bundle) -> None:
    tokens = READ.parse(splitc.report(routed, format="md"))
    width = 0
    for token in tokens:
        if token.type in ("tr_open", "tr_close"):
            assert width in (0, *range(2, 8))
            width = 0
        width += token.type in ("td_open", "th_open")
