# SPDX-License-Identifier: Apache-2.0
"""Write docs/operators.md: which ONNX operators compile, by whom, in which forms, and why not.

python benchmarks/conformance.py --json docs/conformance.json    # first, for the counts
python benchmarks/operators.py
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from splitc_targets.source.converted import CONVERTED
from splitc_targets.source.prepare import FUNCTIONS, REWRITES, SINGLE
from splitc_targets.source.rules import (
    ANY,
    FLOATS,
    INTEGERS,
    NUMBERS,
    UNSIGNED,
    Operator,
    Rule,
)
from splitc_targets.source.table import TABLE

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operators.md"
COUNTS = ROOT / "docs" / "conformance.json"
OUTCOMES = ("passed", "refused", "wrong", "crashed")
MOST = 12
"""So many reasons are listed."""


_WORDS: dict[tuple[str, ...], str] = {
    ANY: "numbers and truth values", FLOATS: "floats", INTEGERS: "integers", NUMBERS: "numbers",
    UNSIGNED: "integers without sign",
}  # fmt: skip
"""Sets of element types in a word; floats have 16, 32 or 64 bits."""


def page(counts: Mapping[str, Any]) -> str:
    """The page, from the table of operators and what onnx's own test cases gave."""
    lines = [
        "# ONNX operators",
        "",
        "Written by `benchmarks/operators.py` from the table that `compile` consults before it "
        "lowers anything. Older opsets than 7 are converted first. What is not listed of an "
        "operator is taken.",
        "*splitc* writes an operator as others, or computes it beforehand; *function* puts in the "
        "operators that onnx defines it by; *TVM* has a converter that was read against the "
        "schema.",
        "",
        *_conformance(counts),
        "| operator | by | only or not |",
        "|---|---|---|",
        *(f"| {name} | {_by(name, entry)} | {_limits(entry)} |" for name, entry in _compiled()),
        "",
        "## Refused",
        "",
        "| operator | why |",
        "|---|---|",
        *(f"| {name} | {why} |" for name, why in _refused()),
        "",
    ]
    return "\n".join(lines)


def _conformance(counts: Mapping[str, Any]) -> list[str]:
    named = ", ".join(f"{counts[what]} {what}" for what in OUTCOMES if what in counts)
    if not named:
        return []
    reasons: Counter[str] = Counter(counts["reasons"])
    return [
        f"Of onnx's own test cases: {named} (`benchmarks/conformance.py`). Most often refused:",
        "",
        *(f"- {count}: {reason}" for reason, count in reasons.most_common(MOST)),
        "",
    ]


def _missing(name: str, entry: Operator) -> bool:
    known = CONVERTED | set(FUNCTIONS) | set(REWRITES)
    ours = entry.by != "TVM"
    return not entry.by or (name not in known and not ours)


def _compiled() -> Iterator[tuple[str, Operator]]:
    yield from ((n, e) for n, e in sorted(TABLE.items()) if not _missing(n, e))


def _refused() -> Iterator[tuple[str, str]]:
    for name, entry in sorted(TABLE.items()):
        if _missing(name, entry):
            yield name, entry.why or "TVM has no converter for it"


def _by(name: str, entry: Operator) -> str:
    if name in FUNCTIONS and entry.by != "TVM":
        return "function"
    mixed = name in FUNCTIONS or name in REWRITES or name in SINGLE
    return "TVM, splitc" if mixed and entry.by == "TVM" else entry.by


def _limits(entry: Operator) -> str:
    rules = [
        *entry.attributes.items(), *entry.inputs.items(), *entry.outputs.items()
    ]  # fmt: skip
    said = [text for name, rule in rules if (text := _limit(name, rule))]
    if entry.types:
        said.append("of " + _WORDS.get(entry.types, ", ".join(entry.types)))
    if entry.note:
        said.append(f"not: {entry.note}")
    return "; ".join(said)


def _limit(name: str, rule: Rule) -> str:
    if rule.kind == "only":
        values = ", ".join(map(str, rule.values))
        return f"`{name}` {values} ({rule.why})"
    if rule.kind == "stored":
        return f"`{name}` stored"
    if rule.kind == "refused" and rule.by != "onnx":
        return f"no `{name}` ({rule.why})"
    return ""


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--conformance", type=Path, help="what conformance.py wrote as JSON")
    options = made.parse_args()
    if options.conformance is not None:
        found: dict[str, Any] = json.loads(options.conformance.read_text("utf-8"))
        kept = {name: found[name] for name in (*OUTCOMES, "reasons")}
        COUNTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    counts: dict[str, Any] = json.loads(COUNTS.read_text("utf-8"))
    PAGE.write_text(page(counts), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
