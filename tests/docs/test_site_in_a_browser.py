# SPDX-License-Identifier: Apache-2.0
"""The site as people see it: nothing wider than a phone, nothing a screen reader stumbles over."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from sphinx.cmd.build import build_main

from build_site import lay_out
from tests.browser import Browser, browser

PAGES = ("index", "verbs/compile", "pays", "comparison", "tutorials/board")
"""One of each kind: a picture, a pair of blocks, several pictures, a wide table, named files."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those pages, built; links to others lead nowhere."""
    folder = tmp_path_factory.mktemp("site")
    lay_out(folder / "source")
    only = ",".join(f"{page}.md" for page in PAGES)
    arguments = ["-q", "-D", f"include_patterns={only}", "-w", str(folder / "warnings")]
    build_main([*arguments, str(folder / "source"), str(folder / "out")])
    return folder / "out"


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    """One browser for all pages."""
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_phone_and_a_desk_and_everybody_can_read_it(
    page: str, site: Path, chromium: Browser
) -> None:
    for width, dark in ((360, False), (1280, True)):
        chromium.open(site / f"{page}.html", width=width, dark=dark)
        assert not chromium.errors()
        assert not chromium.overflow()
        assert not chromium.axe()
        chromium.errors()  # of axe itself, which may read no style sheet of a file


def test_shell_and_python_stand_side_by_side_on_a_desk_and_below_each_other_on_a_phone(
    site: Path, chromium: Browser
) -> None:
    lefts: dict[int, list[float]] = {}
    for width in (360, 1280):
        chromium.open(site / "verbs" / "compile.html", width=width)
        lefts[width] = chromium.driver.execute_script(
            "return [...document.querySelectorAll('.pair > div')].slice(0, 2)"
            ".map(each => each.getBoundingClientRect().left)"
        )
    assert lefts[360][0] == lefts[360][1]
    assert lefts[1280][0] < lefts[1280][1]
