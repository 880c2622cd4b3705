# SPDX-License-Identifier: Apache-2.0
"""A Sphinx extension: docstrings and signatures as they are meant.

An indented block of a docstring is code, as in Markdown; a colon in a property's first line is
punctuation, and no type; of `Annotated[int, …]` readers see `int`.
"""

from __future__ import annotations

import re
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


def plain_signature(text: str | None) -> str | None:
    """A signature without what a decoder is told of a value's range."""
    return text and re.sub(r"Annotated\[(\w+), msgspec\.Meta\([^)]*\)\]", r"\1", text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Have every docstring and signature go through the functions above."""

    def docstring(_app: Sphinx, what: str, *arguments: Any) -> None:
        lines: list[str] = arguments[-1]
        mark_code(lines)
        if what in ("property", "attribute") and lines:
            lines[0] = lines[0].replace(": ", "; ", 1)

    def signature(*arguments: Any) -> tuple[str | None, str | None]:
        return plain_signature(arguments[-2]), plain_signature(arguments[-1])

    app.connect("autodoc-process-docstring", docstring, priority=_BEFORE_NAPOLEON)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
