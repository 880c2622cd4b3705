# SPDX-License-Identifier: Apache-2.0
"""Where each file of the repository stands in the site, and links between them made anew."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROJECT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/RESULTS.md")
"""Pages from outside docs/ that the site has too, in its folder `project/`."""
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
CODE = re.compile(r"^(?P<fence>`{3,})[^`\n]*\n.*?^(?P=fence)[ ]*$|`+[^`\n]+`+", re.M | re.S)


class LinkError(Exception):
    """A link leads nowhere, or is none."""


def pages() -> list[Path]:
    """Every Markdown file that becomes a page."""
    return [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in PROJECT)]


def place_of(path: Path) -> PurePosixPath:
    """Where a file stands in the site: a page as .md, as Sphinx reads it.

    README.md is the site's first page there; what is no page is a file to download.
    """
    inside = path.relative_to(ROOT)
    if inside.as_posix() == "README.md":
        return PurePosixPath("index.md")
    if inside.as_posix() in PROJECT:
        return PurePosixPath("project", path.name)
    if path.is_relative_to(DOCS):
        return PurePosixPath(path.relative_to(DOCS).as_posix())
    return PurePosixPath("files", inside.as_posix())


@dataclass(frozen=True)
class Moved:
    """A page's text with the links that it has in the site.

    Args:
        text: Markdown.
        needs: The files that it links to or shows and that are no pages.
    """

    text: str
    needs: frozenset[Path]


def moved(page: Path, text: str) -> Moved:
    """A page's text as it is in the site.

    Args:
        page: The file that it is from.
        text: Markdown.

    Raises:
        LinkError: A link to a file that is not there, or one to a web page that is no address.
    """
    needs: set[Path] = set()

    def anew(match: re.Match[str]) -> str:
        target = match[2].strip("<>")
        if target.startswith("#"):
            return match[0]
        if urlsplit(target).scheme:
            check_address(page, target)
            return match[0]
        name, hashed, anchor = target.partition("#")
        file = Path(os.path.normpath(page.parent / name))
        if not file.is_file() or not file.is_relative_to(ROOT):
            raise LinkError(f"{page.relative_to(ROOT)}: a link leads to no file: {target}")
        if file.suffix != ".md":
            needs.add(file)
        there = os.path.relpath(place_of(file), place_of(page).parent)
        return f"{match[1]}{there}{hashed}{anchor}{match[3]}"

    parts = [LINK.sub(anew, part) if is_prose else part for is_prose, part in _parts(text)]
    return Moved("".join(parts), frozenset(needs))


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """A text in pieces, and whether each is prose or code."""
    done = 0
    for match in CODE.finditer(text):
        # A link's text may be code: [`x`](y.md) is prose behind the backticks.
        yield True, text[done : match.start()]
        yield False, match[0]
        done = match.end()
    yield True, text[done:]


def check_address(page: Path, target: str) -> None:
    """Refuse what is no web address; whether anybody answers there is not asked.

    Raises:
        LinkError: It is none.
    """
    address = urlsplit(target)
    if address.scheme == "mailto" and "@" in address.path:
        return
    host = address.hostname or ""
    if address.scheme not in ("http", "https") or "." not in host or " " in target:
        raise LinkError(f"{page.relative_to(ROOT)}: no web address: {target}")
