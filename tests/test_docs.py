# SPDX-License-Identifier: Apache-2.0
"""The documents name what there is: every room, and nothing that is gone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from splitc.cli.app import app
from tests.helpers import ROOT
from tests.test_imports import ROOMS

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("folder", ROOMS)
def test_the_architecture_page_has_the_rooms_in_their_order(folder: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition(f"### `{folder}/`")[2].partition("\n#")[0]
    named = [
        name.strip("/").replace("/", ".")
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([\w/]+)`", row)
    ]
    rooms = [room for room in ROOMS[folder] if room]
    known = [name for name in named if name in rooms]
    assert known == [room for room in rooms if room in named]
    parents = {room.rpartition(".")[0] for room in rooms}
    assert not {room for room in rooms if room.partition(".")[0] not in named} - {*named, *parents}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    code = re.compile(r"```.*?```|`[^`\n]*`|^    [^\n]*", re.DOTALL | re.MULTILINE)
    prose = code.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        assert (page.parent / target).exists(), target


def test_every_file_that_the_architecture_page_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    packs = [ROOT / folder for folder in ROOMS]
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        assert any((place / name).exists() for place in (*packs, ROOT, packs[1].parent)), name


COMMAND = re.compile(r"splitc (?P<verb>[a-z]+)(?P<rest>(?:[^`\n\\#|;]|\\\n)*)")


NOW = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""Pages that say how things are, not how they were."""


@pytest.mark.parametrize("page", NOW, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_that_a_page_gives_to_a_verb_is_one(page: Path) -> None:
    command: Any = typer.main.get_command(app)
    for match in COMMAND.finditer(page.read_text("utf-8")):
        verb = command.commands.get(match["verb"])
        if verb is None:
            continue
        known = {flag for each in verb.params for flag in (*each.opts, *each.secondary_opts)}
        quoted = re.sub(r"'[^']*'", "", match["rest"])
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", quoted)) - {"--help"}
        assert not named - known, match[0]
