# SPDX-License-Identifier: Apache-2.0
"""docs/ as a web site: `python docs/site/build_site.py [FOLDER]`, or `make site`.

What Sphinx reads is laid out in FOLDER/source: the Markdown of docs/ with what is made from the
code put in its place. Any warning of Sphinx's is a failure, and so is a link to a page, an anchor
or a file that is not there.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from made import fill
from places import DOCS, ROOT, LinkError, moved, pages, place_of

INDEXES = ("index.md", "verbs.md")
"""Pages whose lists of links are the site's table of contents."""
NAMED_BLOCK = re.compile(r"^```(\w+) ([\w.-]+)$", re.M)


def contents(name: str, text: str) -> str:
    """The page and, unseen, Sphinx's table of contents, made of the links below each heading."""
    trees: list[str] = []
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        caption = section.partition("\n")[0]
        linked = re.findall(r"^[-|] ?\[[^\]]*\]\(([^)#]+\.md)\)", section, re.M)
        if linked:
            lines = ["```{toctree}", ":hidden:"]
            lines += [f":caption: {caption}"] if name == "index.md" else []
            trees.append("\n".join([*lines, "", *linked, "```"]))
    return "\n\n".join([text, *trees, ""])


def lay_out(source: Path) -> None:
    """Write what Sphinx reads.

    Raises:
        LinkError: See `places.moved`.
    """
    shutil.rmtree(source, ignore_errors=True)
    needs: set[Path] = set()
    for page in pages():
        one = moved(page, fill(page.read_text("utf-8")))
        needs |= one.needs
        text = NAMED_BLOCK.sub(r"```{code-block} \1\n:caption: \2\n", one.text)
        place = place_of(page)
        if place.as_posix() in INDEXES:
            text = contents(place.as_posix(), text)
        _write(source / place, text)
    for file in needs:
        (source / place_of(file)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, source / place_of(file))
    for name in ("conf.py", "docstrings.py", "side_by_side.py"):
        shutil.copyfile(DOCS / "site" / name, source / name)
    shutil.copytree(DOCS / "site" / "static", source / "static")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def main(folder: str = "build/site") -> int:
    """Build the site; its exit status is Sphinx's."""
    out = (ROOT / folder).resolve()
    source = out.parent / f"{out.name}-source"
    try:
        lay_out(source)
    except LinkError as error:
        print(error, file=sys.stderr)
        return 1
    sys.path.insert(0, str(source))
    shutil.rmtree(out, ignore_errors=True)
    quiet = ["--quiet", "--fail-on-warning", "--keep-going"]
    return build_main(
        [*quiet, "-b", "html", "-d", str(out.parent / f"{out.name}-cache"), str(source), str(out)]
    )


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
