# SPDX-License-Identifier: Apache-2.0
"""A Sphinx extension: in docstrings an indented block is code, as in Markdown."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

_BEFORE_NAPOLEON = 400


def mark_code(lines: list[str]) -> None:
    """Put reStructuredText's `::` in front of each indented block that has none.

    A section like `Args:` is followed by its indented lines at once, code by an empty line.
    """
    for number in range(len(lines) - 2, 0, -1):
        above = lines[number - 1]
        opens = lines[number + 1].startswith("    ") and not lines[number].strip()
        if opens and above.strip() and not above.startswith(" ") and not above.endswith("::"):
            lines[number : number + 1] = ["", "::", ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Have every docstring go through `mark_code`."""

    def process(*arguments: Any) -> None:
        mark_code(arguments[-1])

    app.connect("autodoc-process-docstring", process, priority=_BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
