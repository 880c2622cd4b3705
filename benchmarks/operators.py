# SPDX-License-Identifier: Apache-2.0
"""Write docs/operators.md: which ONNX operators compile, by whom, in which forms, and why not.

python benchmarks/conformance.py --json FILE    # first, for the counts
python benchmarks/operators.py --conformance FILE
python benchmarks/conformance_opsets.py --json FILE    # the same opset by opset
python benchmarks/operators.py --opsets FILE
python benchmarks/conformance_torch.py --core --json FILE    # and for PyTorch's
python benchmarks/operators.py --torch FILE

What they find is kept in docs/conformance.json; without a file the page alone is written anew.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import onnx
from conformance_older import gone_since, rungs
from conformance_run import CRASHED, PASSED, REFUSED, WRONG

from splitc.frontend.onnx.form import OLDEST_OPSET
from splitc_targets.source.converted import CONVERTED
from splitc_targets.source.for_tvm import MODERN_OPSET
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
OUTCOMES = (PASSED, REFUSED, WRONG, CRASHED)
TORCH = (*OUTCOMES, "counted", "counted_passed_percent", "operators", "apart", "refused_samples")
"""What is kept of the counts of PyTorch's samples."""
MOST = 12
"""So many reasons are listed."""
UNTRIED = "not tried"
BEFOREHAND = "computed beforehand"
HANDED_IN = "loops where nothing is stored"
_CONSTANT = "no layer computes anything from an input"
_CONVERTER = f"onnx's converter to opset {OLDEST_OPSET} refuses"
_NAMED = "the network has operators that cannot be compiled: "
_CASES_OWN = (_CONSTANT, "tensor ", "input ", "weight ", "no cut")
"""What reasons begin with that are of a case and not of its operator, when others passed."""


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
        "lowers anything, and from what test cases of every opset became.",
        "",
        *_conformance(counts),
        "## How to read the table",
        "",
        "*Defined in* has the opsets in which ONNX defined or changed an operator. onnx's version "
        f"converter brings models of opsets before {OLDEST_OPSET} to {OLDEST_OPSET} as they are "
        f"read, and what is compiled of those before {MODERN_OPSET} to {MODERN_OPSET}; newer ones "
        "are compiled as they are.",
        "",
        "*By* says who computes it: *splitc* writes it as other operators, or computes it "
        "beforehand; *function*, it is replaced by those that onnx defines it by; *TVM* has a "
        "converter that was read against the schema.",
        "",
        "*What becomes of it* was tried, opset by opset where several become something else, the "
        "newest first: *rule*, kernels that splitc plans; *body*, a function's operators, by "
        "rules; *loops*, TVM's own, correct and slow; *refused*, by name before anything is "
        f"compiled; *{BEFOREHAND}*, nothing is left of it. onnx carries cases of an operator's "
        "newest version; they were written in the words of older ones where those have them, and "
        "hold what onnxruntime, else onnx's reference, gives at that opset "
        "(`benchmarks/conformance_opsets.py`). *Loops where nothing is stored*: a rule computes it "
        "where all inputs but the first are stored, as networks have weights and scales, and "
        "loops where they are handed in. Cases hold other types than float32 too.",
        "",
        "*Only or not* has what is refused of an operator; what is not listed is taken.",
        "",
        "## Compiled",
        "",
        "| operator | defined in | by | what becomes of it | only or not |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_opsets(name)} | {_by(name, entry)} | {_becomes(name, counts)} | "
            f"{_limits(entry)} |"
            for name, entry in _compiled()
        ),
        *(
            f"| {DOMAIN}: {name} | {_opsets(name, DOMAIN)} | splitc | {_becomes(name, counts)} |  |"
            for name in sorted(FEATURES)
        ),
        "",
        "## Refused at every opset",
        "",
        "| operator | defined in | why |",
        "|---|---|---|",
        *(f"| {name} | {_opsets(name)} | {why} |" for name, why in _refused()),
        "",
        *_not_tried(counts),
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


@dataclass(frozen=True)
class Span:
    """Opsets of which the same becomes.

    Args:
        first: The first.
        last: The last; None where that is the newest there is.
        word: What becomes of them.
    """

    first: int
    last: int | None
    word: str

    def opsets(self) -> str:
        """Its opsets in words."""
        if self.last is None:
            return f"from {self.first}"
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


def spans(name: str, counts: Mapping[str, Any]) -> list[Span]:
    """What becomes of an operator, the oldest opset first.

    Args:
        name: Its name.
        counts: What docs/conformance.json has: of all its own cases at their own opset, and of
            some at each opset.
    """
    some: Mapping[str, str] = counts.get("opsets", {}).get(name, {})
    own: Mapping[str, str] = counts.get("own", {}).get(name, {})
    words = {int(opset): own.get(opset, word) for opset, word in some.items()}
    found: list[Span] = []
    for word, group in groupby(sorted(words), key=lambda opset: words[opset]):
        *_, newest = each = [*group]
        later = min((opset for opset in words if opset > newest), default=gone_since(name))
        found.append(Span(each[0], None if later is None else later - 1, word))
    return found


def _becomes(name: str, counts: Mapping[str, Any]) -> str:
    """What becomes of it, the newest opsets first."""
    found = spans(name, counts)
    words = [(span, span.word.partition(f"{UNTRIED}: ")[0] or UNTRIED) for span in found]
    if len(words) == 1:
        return words[0][1]
    return " · ".join(f"{span.opsets()}: {word}" for span, word in reversed(words))


def _not_tried(counts: Mapping[str, Any]) -> list[str]:
    """Why what is compiled was not tried at some opsets."""
    why: dict[str, list[str]] = defaultdict(list)
    for name, _ in _compiled():
        for span in spans(name, counts):
            _, untried, reason = span.word.partition(f"{UNTRIED}: ")
            if untried:
                why[reason].append(f"{name} {span.opsets()}")
    if not why:
        return []
    listed = (f"- {reason}: {', '.join(each)}" for reason, each in sorted(why.items()))
    return ["## Not tried", "", "What the table says of these opsets was not measured:", "",
            *listed, ""]  # fmt: skip


def word_of(cases: Sequence[Mapping[str, Any]]) -> str:
    """What became of cases of one operator, at one of its versions, in a few words.

    Args:
        cases: Outcomes of conformance.py or conformance_opsets.py, one at least.
    """
    passed = [one for one in cases if one["outcome"] == PASSED]
    bad = [one for one in cases if one["outcome"] not in (PASSED, REFUSED)]
    (name,) = cases[0]["ops"]
    reasons = Counter(_why(name, one["reason"]) for one in cases if one["outcome"] == REFUSED)
    if bad:
        return f"{bad[0]['outcome']}: {bad[0]['case']}"
    if not passed:
        ((reason, _),) = reasons.most_common(1)
        return BEFOREHAND if reason.startswith(_CONSTANT) else f"refused: {reason}"
    quick = "body" if name in FUNCTIONS else "rule"
    slow = [one for one in passed if one["loops"]]
    stays = [one for one in slow if one.get("stored") is None or one["stored"]]
    if len(stays) == len(passed):
        words = ["loops"]
    elif stays:
        words = [quick, "some forms loops"]
    else:
        words = [quick, HANDED_IN] if slow else [quick]
    own = [reason for reason, _ in reasons.most_common() if not reason.startswith(_CASES_OWN)]
    return "; ".join([*words, *(f"some forms refused: {reason}" for reason in own[:1])])


def _why(name: str, reason: str) -> str:
    """A reason without what every reader of an operator's row knows."""
    if _CONVERTER in reason:
        return f"onnx's version converter knows no way to opset {OLDEST_OPSET}"
    return reason.removeprefix(_NAMED).removeprefix(f"{name}: ").rstrip()


def own_words(cases: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What became of each operator's own cases, by the opset from which on the same is meant.

    Args:
        cases: Outcomes of conformance.py; those of several operators are left out.
    """
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for one in cases:
        if len(one["ops"]) == 1 and one.get("opset"):
            name, opset = one["ops"][0], one["opset"]
            first = max((r.opset for r in rungs(name) if r.opset <= opset), default=opset)
            found[name][str(first)].append(one)
    return {
        name: {first: word_of(some) for first, some in sorted(by.items(), key=lambda o: int(o[0]))}
        for name, by in sorted(found.items())
    }


def words_at(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What conformance_opsets.py found, as a word by operator and opset."""
    words = own_words(found["cases"])
    for one in found["untried"]:
        words.setdefault(one["operator"], {})[str(one["opset"])] = f"{UNTRIED}: {one['why']}"
    return {
        name: dict(sorted(by.items(), key=lambda each: int(each[0])))
        for name, by in sorted(words.items())
    }


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


def _keep(found: Mapping[str, Any]) -> None:
    """Replace what docs/conformance.json says of these."""
    before: dict[str, Any] = json.loads(COUNTS.read_text("utf-8"))
    COUNTS.write_text(json.dumps(before | dict(found), indent=1) + "\n", "utf-8")


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8"))


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--conformance", type=Path, help="what conformance.py wrote as JSON")
    made.add_argument("--opsets", type=Path, help="what conformance_opsets.py wrote as JSON")
    made.add_argument("--torch", type=Path, help="what conformance_torch.py wrote as JSON")
    options = made.parse_args()
    if options.conformance is not None:
        found = _read(options.conformance)
        kept = {name: found[name] for name in (*OUTCOMES, "counted", "reasons")}
        kept["counted_passed_percent"] = round(found["counted_passed_percent"], 2)
        kept["own"] = own_words(found["cases"])
        kept["refused_cases"] = sorted(
            one["case"] for one in found["cases"] if one["outcome"] == REFUSED
        )
        _keep(kept)
    if options.opsets is not None:
        _keep({"opsets": words_at(_read(options.opsets))})
    if options.torch is not None:
        found = _read(options.torch)
        share = round(found["counted_passed_percent"], 2)
        _keep({"torch": {name: found[name] for name in TORCH} | {"counted_passed_percent": share}})
    PAGE.write_text(page(_read(COUNTS)), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
