# SPDX-License-Identifier: Apache-2.0
"""Write docs/operators.md: which ONNX operators compile, by whom, in which forms, and why not.

python benchmarks/conformance.py --json FILE    # first, for the counts
python benchmarks/operators.py --conformance FILE
python benchmarks/conformance_torch.py --core --json FILE    # the same for PyTorch's
python benchmarks/operators.py --torch FILE
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from splitc_targets.source.converted import CONVERTED
from splitc_targets.source.forms_features import DOMAIN, FEATURES
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
TORCH = (*OUTCOMES, "counted", "counted_passed_percent", "operators", "apart", "refused_samples")
"""What is kept of the counts of PyTorch's samples."""
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
        "*Opsets* are those in which ONNX defined or changed an operator. All are taken: models of "
        "earlier opsets than 13 are brought there by onnx's version converter.",
        "*How* says what onnx's own cases of the operator alone became: *rule*, kernels that "
        "splitc plans; *loops*, TVM's own, correct and slow; of a function, its body. Those cases "
        "hand in what networks store, weights and scales among it, and hold other types than "
        "float32 too: a network's form may have a rule where a case has loops.",
        "",
        *_conformance(counts),
        "| operator | opsets | by | how | only or not |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_opsets(name)} | {_by(name, entry)} | {_how(name, counts)} | "
            f"{_limits(entry)} |"
            for name, entry in _compiled()
        ),
        *(
            f"| {DOMAIN}: {name} | {_opsets(name, DOMAIN)} | splitc | {_how(name, counts)} |  |"
            for name in sorted(FEATURES)
        ),
        "",
        "## Refused",
        "",
        "| operator | opsets | why |",
        "|---|---|---|",
        *(f"| {name} | {_opsets(name)} | {why} |" for name, why in _refused()),
        "",
        *_torch(counts),
    ]
    return "\n".join(lines)


def _conformance(counts: Mapping[str, Any]) -> list[str]:
    named = ", ".join(f"{counts[what]} {what}" for what in OUTCOMES if what in counts)
    if not named:
        return []
    reasons: Counter[str] = Counter(counts["reasons"])
    return [
        f"Of onnx's own test cases: {named}. Of the {counts['counted']:,} that hold tensors of "
        "fixed shape and numbers and that onnxruntime runs, "
        f"{counts['counted_passed_percent']:.2f} % pass (`benchmarks/conformance.py`). "
        "Most often refused:",
        "",
        *(f"- {count}: {reason}" for reason, count in reasons.most_common(MOST)),
        "",
    ]


def _torch(counts: Mapping[str, Any]) -> list[str]:
    """What PyTorch's own samples of its core operators gave, where they were counted."""
    found: Mapping[str, Any] = counts.get("torch", {})
    named = ", ".join(f"{found[what]} {what}" for what in OUTCOMES if what in found)
    if not named:
        return []
    return [
        "## PyTorch",
        "",
        f"Of PyTorch's own samples of the operators in ATen's core set: {named}. Of the "
        f"{found['counted']:,} that count {found['counted_passed_percent']:.2f} % pass "
        "(`benchmarks/conformance_torch.py --core`, which says what is left out).",
        "",
    ]


def _opsets(name: str, domain: str = "") -> str:
    """The versions of its definition; the last one where it is gone since."""
    found = sorted(
        (schema.since_version, schema.deprecated)
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == name and schema.domain == domain
    )
    kept = ", ".join(str(version) for version, gone in found if not gone)
    gone = next((version for version, gone in found if gone), None)
    return kept if gone is None else f"{kept}; gone since {gone}"


def _how(name: str, counts: Mapping[str, Any]) -> str:
    """What computed it where it stood alone; empty where no such case was compiled."""
    slow, tried = counts.get("loops", {}).get(name, (0, 0))
    if not tried:
        return ""
    quick = "body" if name in FUNCTIONS else "rule"
    if slow == tried:
        return "loops"
    return f"{quick}; some forms loops" if slow else quick


def loops_of(cases: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Of each operator's own cases that passed: in how many a loop of TVM's is left, of how many.

    Args:
        cases: Outcomes of conformance.py; those whose loops are null are left out.
    """
    slow, tried = Counter[str](), Counter[str]()
    for one in cases:
        if one["outcome"] == "passed" and len(one["ops"]) == 1 and one["loops"] is not None:
            tried[one["ops"][0]] += 1
            slow[one["ops"][0]] += bool(one["loops"])
    return {name: (slow[name], tried[name]) for name in sorted(tried)}


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
    made.add_argument("--torch", type=Path, help="what conformance_torch.py wrote as JSON")
    options = made.parse_args()
    if options.conformance is not None:
        found: dict[str, Any] = json.loads(options.conformance.read_text("utf-8"))
        kept = {name: found[name] for name in (*OUTCOMES, "counted", "reasons")}
        kept["counted_passed_percent"] = round(found["counted_passed_percent"], 2)
        kept["loops"] = loops_of(found["cases"])
        kept["refused_cases"] = sorted(
            one["case"] for one in found["cases"] if one["outcome"] == "refused"
        )
        before: dict[str, Any] = json.loads(COUNTS.read_text("utf-8"))
        kept |= {name: before[name] for name in ("torch",) if name in before}
        COUNTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    if options.torch is not None:
        found = json.loads(options.torch.read_text("utf-8"))
        kept = json.loads(COUNTS.read_text("utf-8"))
        kept["torch"] = {name: found[name] for name in TORCH}
        kept["torch"]["counted_passed_percent"] = round(found["counted_passed_percent"], 2)
        COUNTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    counts: dict[str, Any] = json.loads(COUNTS.read_text("utf-8"))
    PAGE.write_text(page(counts), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
