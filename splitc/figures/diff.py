# SPDX-License-Identifier: Apache-2.0
"""How two bundles differ: what changed, and which figures got worse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from splitc.errors import GateError, UsageError
from splitc.figures.baseline import Baseline, known_of
from splitc.figures.table import FIGURES, Figure, Source, figure_named, parse_value

if TYPE_CHECKING:
    from splitc.bundle.bundle import Bundle
    from splitc.runtime.manifest import TensorSpec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is told in words: what it is, as it was and as it is; "" for nothing."""

    what: str
    old: str
    new: str


class FigureChange(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a route, old and new; null where there was none, or is none any more.

    `change` is the difference as a share of the old value, or of shares the difference itself;
    null where the old value is 0. `tolerance` is how much worse it may be, in words; "" for any.
    """

    figure: str
    unit: str
    source: Source
    route: str
    old: float | None
    new: float | None
    change: float | None
    worse: bool
    tolerance: str
    regression: bool

    @property
    def label(self) -> str:
        """The figure with its route, and where it is from if that is no manifest."""
        name = f"{self.route}: {self.figure}" if self.route else self.figure
        return name if self.source == "manifest" else f"{name} ({self.source})"

    @property
    def shown(self) -> tuple[str, str, str]:
        """Old, new and the change, in words."""
        figure = FIGURES[self.figure]
        change = "" if self.change is None or self.change == 0 else f"{self.change:+.1%}"
        old, new = ("–" if one is None else figure.text(one) for one in (self.old, self.new))
        return old, new, change

    @property
    def is_same(self) -> bool:
        """Whether nothing changed."""
        return self.old == self.new


@dataclass(frozen=True)
class Tolerance:
    """How much worse figures may get.

    Args:
        text: As it was written.
        figure: Which one; None for all.
        share: As a share of the old value, or of shares in points; None where it is absolute.
        most: In the figure's unit, where it is.
    """

    text: str
    figure: Figure | None
    share: float | None
    most: float = 0.0

    @staticmethod
    def parse(text: str) -> Tolerance:
        """A tolerance from `5%`, `head_ms=10%`, or `head_ms=2ms`.

        Raises:
            UsageError: It is malformed, or there is no such figure.
        """
        name, equals, value = (word.strip() for word in text.rpartition("="))
        figure = figure_named(name) if equals else None
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{0,9})?)\s*%", value)
        if match:
            return Tolerance(value, figure, float(match[1]) / 100)
        hint = "write it like 5%, head_ms=10% or head_ms=2ms"
        if figure is None:
            raise UsageError(f"'{text}' is no tolerance", hint=hint)
        most, unit = parse_value(value, figure.unit)
        if most < 0 or not (unit or figure.unit == "count"):
            raise UsageError(f"'{text}' is no tolerance", hint=hint)
        return Tolerance(value, figure, None, most)

    def allows(self, figure: Figure, old: float, new: float) -> bool:
        """Whether a change is within it."""
        if not figure.is_worse(old, new):
            return True
        apart = abs(new - old)
        if self.share is None:
            return apart <= self.most
        return apart <= self.share * (1.0 if figure.unit == "share" else abs(old))


@dataclass(frozen=True)
class Diff:
    """How a bundle differs from an older one.

    Args:
        old: What is known of the older one.
        new: What is known of the newer one.
        changes: What is told in words.
        figures: Every figure that either has, route by route.
        notes: What was not compared.
    """

    old: Baseline
    new: Baseline
    changes: tuple[Change, ...]
    figures: tuple[FigureChange, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[FigureChange, ...]:
        """Figures that are worse by more than their tolerance."""
        return tuple(one for one in self.figures if one.regression)

    @property
    def changed(self) -> tuple[FigureChange, ...]:
        """Figures that are not what they were."""
        return tuple(one for one in self.figures if not one.is_same)

    def require(self) -> None:
        """Raise where figures are worse by more than their tolerance, naming all.

        Raises:
            GateError: They are.
        """
        worse = self.regressions
        if not worse:
            return
        words = [
            f"{one.label} {old} -> {new}, {change or 'more'}, tolerance {one.tolerance}"
            for one in worse
            for old, new, change in (one.shown,)
        ]
        what = f"{len(worse)} figure{'s are' if len(worse) > 1 else ' is'} worse than the baseline"
        raise GateError(f"{self.new.name}: {what}", why="; ".join(words))

    def markdown(self) -> str:
        """It as Markdown: a table of what changed, and one of figures."""
        from splitc.figures.markdown import diff_as_markdown

        return diff_as_markdown(self)


def diff(
    old: str | Path | Bundle,
    new: str | Path | Bundle,
    *,
    tolerances: Sequence[str] = (),
    measured: Sequence[str | Path] = (),
    any_model: bool = False,
) -> Diff:
    """What changed from one bundle to another.

    Args:
        old: A bundle, its folder, a packed one, or the file of a baseline.
        new: Likewise.
        tolerances: How much worse figures may be, like `5%`, `head_ms=10%` or `head_ms=2ms`;
            the last that names a figure counts for it. Without any, nothing is a regression.
        measured: Files of what `bench`, `simulate`, `verify` or `evaluate` printed of the new
            one with `--json`.
        any_model: Compare bundles of networks that differ too.

    Raises:
        UsageError: They are of two models, there is nothing at a path, or a tolerance is
            malformed or of a figure that cannot be compared.
        BadBundleError: One is malformed, altered, or of another schema.
    """
    limits = [Tolerance.parse(one) for text in tolerances for one in text.split(";")]
    was, now = known_of(old), known_of(new, measured)
    if not any_model:
        _refuse_other_model(was, now)
    figures = tuple(_figures(was, now, limits))
    compared = {one.figure for one in figures if one.old is not None and one.new is not None}
    for limit in limits:
        if limit.figure is not None and limit.figure.name not in compared:
            what = f"{limit.figure.name} cannot be compared: not both have it"
            verbs = ", ".join(f"splitc {verb}" for verb in limit.figure.verbs)
            hint = f"it is printed by {verbs}; --measured FILE takes what --json prints"
            raise UsageError(what, hint=hint)
    missing = [one for one in was.values if one not in now.values]
    notes = [f"not compared, as the new one has none: figures of {one}" for one in missing]
    return Diff(was, now, tuple(_changes(was, now)), figures, tuple(notes))


def _refuse_other_model(old: Baseline, new: Baseline) -> None:
    """Raise where two bundles are not of one model: by its content, or its name and contract."""
    was, now = old.source, new.source
    contract = (was.name, was.inputs, was.outputs) == (now.name, now.inputs, now.outputs)
    if was.sha256 == now.sha256 or contract:
        return
    given, asked = (f"{one.name} ({_contract(one.inputs)})" for one in (was, now))
    why = f"it is of {given}, the new one of {asked}"
    hint = "--any-model compares them even so"
    raise UsageError("the baseline is of another model", why=why, hint=hint)


def _pairs(
    old: Sequence[str], new: Sequence[str], defaults: tuple[str, str] | None
) -> Iterator[tuple[str, str, str]]:
    """Names to compare: what to call the pair, the old name, the new one.

    What runs where nobody chooses is compared with what did, whatever it is called: a cut that
    moved has another name. Others go by their names.
    """
    rest = list(new)
    if defaults is not None and defaults[0] in old and defaults[1] in new:
        alone = len(old) == len(new) == 1
        yield "" if alone else defaults[1], *defaults
        rest.remove(defaults[1])
    for name in rest:
        if name in old:
            yield name, name, name


def _figures(old: Baseline, new: Baseline, limits: Sequence[Tolerance]) -> Iterator[FigureChange]:
    for source, was in old.values.items():
        now = new.values.get(source)
        if now is None:
            continue
        both = was.default is not None and now.default is not None
        defaults = (was.default or "", now.default or "") if both else None
        for title, before, after in _pairs([*was.by_route], [*now.by_route], defaults):
            left, right = was.by_route[before], now.by_route[after]
            for name, figure in FIGURES.items():
                if name in left or name in right:
                    limit = _limit(figure, limits)
                    yield _of_figure(source, title, figure, left.get(name), right.get(name), limit)


def _of_figure(
    source: Source, route: str, figure: Figure, old: float | None, new: float | None,
    limit: Tolerance | None,
) -> FigureChange:  # fmt: skip
    change: float | None = None
    worse = over = False
    if old is not None and new is not None:
        worse = figure.is_worse(old, new)
        over = limit is not None and not limit.allows(figure, old, new)
        if figure.unit == "share":
            change = new - old
        elif old:
            change = (new - old) / abs(old)
    return FigureChange(
        figure=figure.name, unit=figure.unit, source=source, route=route, old=old, new=new,
        change=change, worse=worse, tolerance=limit.text if limit else "", regression=over,
    )  # fmt: skip


def _limit(figure: Figure, limits: Sequence[Tolerance]) -> Tolerance | None:
    """The last tolerance of a figure, or else of all."""
    own = [one for one in limits if one.figure is figure]
    return (own or [one for one in limits if one.figure is None] or [None])[-1]


def _changes(old: Baseline, new: Baseline) -> Iterator[Change]:
    """What is told in words, where it changed."""
    was, now = old.source, new.source
    found: list[tuple[str, str, str]] = [
        ("model", was.name, now.name),
        ("weights", f"sha256 {was.sha256[:12]}", f"sha256 {now.sha256[:12]}"),
    ]
    found.append(("inputs", _contract(was.inputs), _contract(now.inputs)))
    found.append(("results", _contract(was.outputs), _contract(now.outputs)))
    if any(len(one.routes) > 1 for one in (old, new)):
        found.append(("default route", old.default, new.default))
    found += _routes(old, new)
    found += _parts(old, new)
    found += _of_dicts("tool", old.tools, new.tools)
    found += _of_dicts("option", old.config, new.config)
    for what, before, after in found:
        if before != after:
            yield Change(what=what, old=before, new=after)


def _contract(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{one.name} {'x'.join(map(str, one.shape))} {one.dtype}" for one in specs)


def _routes(old: Baseline, new: Baseline) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    pairs = _pairs([*old.routes], [*new.routes], (old.default, new.default))
    for title, before, after in pairs:
        one, other = old.routes[before], new.routes[after]
        seen |= {before, after}
        of = f"{title}: " if title else ""
        yield f"{of}cut", one.cut, other.cut
        yield f"{of}codec", one.codec or "", other.codec or ""
        yield f"{of}times predicted", one.predicted_from, other.predicted_from
    for name in (*old.routes, *new.routes):
        if name not in seen:
            yield "route", name if name in old.routes else "", name if name in new.routes else ""


def _parts(old: Baseline, new: Baseline) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*old.parts, *new.parts)):
        one, other = old.parts.get(name), new.parts.get(name)
        if one is None or other is None:
            yield "part", name if one else "", name if other else ""
            continue
        yield f"{name}: target", f"{one.target}, {one.cpu}", f"{other.target}, {other.cpu}"
        yield f"{name}: layers", str(one.layers), str(other.layers)
        yield f"{name}: schedule", one.schedule, other.schedule
        fell, falls = _counted(one.fallbacks), _counted(other.fallbacks)
        yield f"{name}: kernels that fell back", fell, falls


def _counted(names: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{n} x{c}" if c > 1 else n for n, c in sorted(counts.items()))


def _of_dicts(
    what: str, old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*old, *new)):
        yield f"{what} {name}", old.get(name, ""), new.get(name, "")
