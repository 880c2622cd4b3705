# SPDX-License-Identifier: Apache-2.0
"""Reports as people see them, in Chromium: narrow and wide, in light and in dark."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from splitc.bundle.bundle import Bundle
from splitc.reporting.make import write
from tests.browser import Browser, browser
from tests.reporting.facts import HOSTILE, chain, facts_of, table_of

WIDTHS = (360, 1280)


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def pages(
    compiled: Bundle, routed: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Pages by what they are of: a network with names that are markup, and a long one, too."""
    folder = tmp_path_factory.mktemp("pages")
    long = folder / "long.html"
    long.write_text(write(facts_of(compiled, table_of(chain(2000), "5g"), "n" * 90)), "utf-8")
    hostile = folder / "hostile.html"
    table = table_of(chain(11, HOSTILE))
    hostile.write_text(write(facts_of(compiled, table, HOSTILE[0])), "utf-8")
    return {
        "small": compiled.path / "report.html", "routed": routed.path / "report.html",
        "long": long, "hostile": hostile,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["small", "routed", "long", "hostile"])
def test_a_page_fits_complains_of_nothing_and_can_be_used_by_all(
    chromium: Browser, pages: dict[str, Path], name: str
) -> None:
    for width in WIDTHS:
        for dark in (False, True):
            chromium.open(pages[name], width=width, dark=dark)
            seen = (chromium.errors(), chromium.fetched(), chromium.overflow(), chromium.axe())
            assert seen == ([], [], [], []), (width, dark)


def test_everything_is_reached_by_the_tab_key(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["routed"], width=WIDTHS[0])
    wanted = chromium.tab_stops()
    assert len(wanted) > 15
    assert wanted <= set(chromium.press_tab(len(wanted) + 1))


def test_the_browser_sees_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "sheet.css").write_text("p { margin: 0 }", "utf-8")
    wrong = tmp_path / "wrong.html"
    wrong.write_text(
        '<!doctype html><title>x</title><body style="background:#fff"><img src="none.png">'
        '<link rel="stylesheet" href="sheet.css">'
        '<p style="color:#ddd;width:900px">pale and too wide</p>'
        "<script>undefined.field</script>",
        "utf-8",
    )
    chromium.open(wrong, width=WIDTHS[0])
    told = " ".join(chromium.errors())
    assert "TypeError" in told
    assert "none.png" in told
    assert any("sheet.css" in name for name in chromium.fetched())
    assert any("pale" in one for one in chromium.overflow())
    found = " ".join(chromium.axe())
    assert all(rule in found for rule in ("image-alt", "color-contrast", "html-has-lang"))
    right = tmp_path / "right.html"
    right.write_text('<!doctype html><html lang="en"><title>x</title><p>dark on white', "utf-8")
    chromium.open(right, width=WIDTHS[0])
    assert (chromium.errors(), chromium.fetched(), chromium.overflow()) == ([], [], [])
