# SPDX-License-Identifier: Apache-2.0
"""A diff as Markdown, for a job's summary or a comment on a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from splitc.errors import printable

if TYPE_CHECKING:
    from splitc.figures.diff import Diff, FigureChange

_SPECIAL = str.maketrans({c: f"\\{c}" for c in r"\`*_[]<>|~#&$"})


def plain_markdown(text: str) -> str:
    """Text out of a bundle as Markdown that shows it, whatever is in it."""
    return printable(text).translate(_SPECIAL)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: int) -> str:
    """A table; so many columns behind the first stand to the right."""
    rule = ["---:" if 0 < n <= right else "---" for n in range(len(columns))]
    lines = [columns, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def diff_as_markdown(found: Diff) -> str:
    """What changed, which figures did, and which of those are worse than they may be."""
    old, new = (one.digest[:12] for one in (found.old, found.new))
    out = [f"### {plain_markdown(found.new.name)}: {verdict(found)}"]
    if old == new:
        out.append(f"The bundle is the same, `{new}`.")
    else:
        out.append(f"Bundle `{old}` → `{new}`.")
    if found.changes:
        rows = [
            [plain_markdown(one.what), *(plain_markdown(t) or "–" for t in (one.old, one.new))]
            for one in found.changes
        ]
        out.append(table(["changed", "old", "new"], rows, right=0))
    changed = found.changed
    if changed:
        rows = [[plain_markdown(one.label), *one.shown, mark(one)] for one in changed]
        out.append(table(["figure", "old", "new", "change", ""], rows, right=3))
    same = len(found.figures) - len(changed)
    if same:
        out.append(f"{same} figure{'s are' if same > 1 else ' is'} as before.")
    out += [f"{note[:1].upper()}{note[1:]}." for note in found.notes]
    return "\n\n".join(out) + "\n"


def mark(one: FigureChange) -> str:
    """Whether a figure is worse, and than what it may be."""
    return f"❌ over {one.tolerance}" if one.regression else "worse" if one.worse else ""


def verdict(found: Diff) -> str:
    """The outcome, in words."""
    worse = len(found.regressions)
    if worse:
        return f"{worse} figure{'s' if worse > 1 else ''} worse than allowed"
    if not found.changes and not found.changed:
        return "nothing changed"
    return "no regression" if any(one.tolerance for one in found.figures) else "changed"
