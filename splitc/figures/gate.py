# SPDX-License-Identifier: Apache-2.0
"""Gates: what a figure must not be, like `head_ms>40`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from splitc.errors import GateError, UsageError, nearest
from splitc.figures.table import PRINTED, Figure, figure_named, parse_value
from splitc.figures.values import Values

Comparison = Literal[">=", "<=", ">", "<"]

_COMPARE: dict[Comparison, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_GATE = re.compile(
    r"(?:(?P<route>[^;]+):)?\s*(?P<figure>[\w.-]+)\s*(?P<how>>=|<=|>|<)(?P<limit>.+)"
)
_HINT = "write it like head_ms>40, boundary_bytes>64kB or ROUTE:accuracy_drop>1%"


@dataclass(frozen=True)
class Gate:
    """What fails.

    Args:
        text: As it was written.
        route: The route whose figure it is; "" for the default one, "*" for all.
        figure: Its name.
        how: How its value must not compare with the limit.
        limit: In the figure's unit.
    """

    text: str
    route: str
    figure: Figure
    how: Comparison
    limit: float

    @staticmethod
    def parse(text: str) -> Gate:
        """A gate from `FIGURE>VALUE`, with `ROUTE:` in front or not; also >=, < and <=.

        Raises:
            UsageError: It is malformed, or there is no such figure.
        """
        match = _GATE.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"'{text}' is no gate", hint=_HINT)
        figure = figure_named(match["figure"])
        how: Comparison = next(one for one in get_args(Comparison) if one == match["how"])
        limit, unit = parse_value(match["limit"], figure.unit)
        if figure.unit == "share" and not unit and abs(limit) > 1:
            what = f"'{text}': {figure.name} is a share, from 0 to 1"
            raise UsageError(what, hint=f"{figure.name}{how}{limit:g}%")
        return Gate(text.strip(), (match["route"] or "").strip(), figure, how, limit)

    def judge(self, values: Sequence[Values]) -> tuple[Verdict, ...]:
        """What becomes of it, a verdict for each route that is meant.

        Args:
            values: Figures, of each source; the first that has it counts.

        Raises:
            UsageError: There is no such route.
        """
        name = self.figure.name
        having = [v for v in values if any(name in one for one in v.by_route.values())]
        found = (having or [v for v in values if v.source in self.figure.sources] or values)[0]
        routes = found.routes(self.route or None)
        for route in routes:
            if route not in found.by_route:
                hint = nearest(route, found.by_route)
                raise UsageError(f"gate {self.text}: there is no '{route}'", hint=hint)
        alone = len(found.by_route) == 1
        return tuple(self._verdict("" if alone else r, found.by_route[r].get(name)) for r in routes)

    def _verdict(self, route: str, value: float | None) -> Verdict:
        failed = value is None or _COMPARE[self.how](value, self.limit)
        where = f"{route}: " if route else ""
        missing = _NEEDS.get(self.figure.name, "it was not found out")
        said = f"has no value: {missing}" if value is None else f"is {self.figure.text(value)}"
        why = f"{where}{self.figure.name} {said}"
        return Verdict(gate=self.text, figure=self.figure.name, route=route, value=value,
                       passed=not failed, why=why)  # fmt: skip


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a gate on a route; `route` is "" where there is one, `value` null where
    there is none, which fails too."""

    gate: str
    figure: str
    route: str
    value: float | None
    passed: bool
    why: str


_NEEDS = {
    "accuracy": "it needs labelled samples",
    "accuracy_drop": "it needs a codec and labelled samples",
    "agreement": "the bundle has no codec",
    "codec_error": "the bundle has no codec",
    "energy_mj": "the device's board has no power",
}


def parse_gates(
    texts: Collection[str], verb: str, routes: Collection[str] = ()
) -> tuple[Gate, ...]:
    """Gates on what a verb prints, several in a text with `;` between them.

    Args:
        texts: As they were written.
        verb: The verb.
        routes: Names of the routes that there are, where they are known.

    Raises:
        UsageError: One is malformed, on a figure that the verb does not print, or on a route
            that there is not.
    """
    words = [word for text in texts for word in text.split(";")]
    gates = tuple(Gate.parse(word) for word in words if word.strip())
    printed = {*PRINTED[verb]}
    for gate in gates:
        if not printed & {*gate.figure.sources}:
            what = f"gate {gate.text}: splitc {verb} does not print {gate.figure.name}"
            hint = "printed by: " + ", ".join(f"splitc {one}" for one in gate.figure.verbs)
            raise UsageError(what, hint=hint)
        if routes and gate.route not in ("", "*", *routes):
            what = f"gate {gate.text}: there is no route '{gate.route}'"
            raise UsageError(what, hint=nearest(gate.route, routes))
    return gates


def judge(gates: Sequence[Gate], *values: Values) -> tuple[Verdict, ...]:
    """What becomes of gates.

    Args:
        gates: The gates.
        values: Figures of each source.

    Raises:
        UsageError: A gate names a route that there is not.
    """
    return tuple(verdict for gate in gates for verdict in gate.judge(values))


def require_gates(verdicts: Sequence[Verdict]) -> None:
    """Raise where gates fail, naming all of them.

    Raises:
        GateError: They do.
    """
    failed = [one for one in verdicts if not one.passed]
    if not failed:
        return
    gates = dict.fromkeys(one.gate for one in failed)
    what = f"{len(gates)} gates fail" if len(gates) > 1 else f"gate {failed[0].gate} fails"
    why = "; ".join(f"{one.why}, gate {one.gate}" if len(gates) > 1 else one.why for one in failed)
    raise GateError(what, why=why)
