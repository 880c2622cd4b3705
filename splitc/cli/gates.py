# SPDX-License-Identifier: Apache-2.0
"""`--fail-on`: gates on the figures that a verb prints, judged after all of it was printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from splitc.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.figures.gate import Gate, Verdict
    from splitc.runtime.manifest import Manifest

FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on", metavar="GATE", envvar="SPLITC_FAIL_ON",
        help="End with exit code 9 where a figure is beyond a limit, after all is printed: "
        "[b]'head_ms>40'[/], [b]'boundary_bytes>64kB'[/], [b]'ROUTE:accuracy_drop>1%'[/]. "
        "Repeatable, or with ; between.",
    ),
]  # fmt: skip


class Gated(Protocol):
    """What a verb prints, with what became of the gates."""

    @property
    def gates(self) -> tuple[Verdict, ...]:
        """A verdict a gate and route."""
        ...


G = TypeVar("G", bound=Gated)


def read_gates(
    texts: Sequence[str] | None, verb: str, manifest: Manifest | None = None
) -> tuple[Gate, ...]:
    """The gates of `--fail-on`, before anything runs.

    Raises:
        UsageError: One is malformed, or on what the verb does not print, or on no route.
    """
    if not texts:
        return ()
    from splitc.figures.gate import parse_gates

    routes = [route.name for route in manifest.routes] if manifest else ()
    return parse_gates(texts, verb, routes)


def judged(found: G, gates: Sequence[Gate], manifest: Manifest) -> G:
    """What a verb prints, with what becomes of gates on the figures in it."""
    if not gates:
        return found
    import msgspec

    from splitc.figures.gate import judge
    from splitc.figures.values import of_printed

    printed = of_printed(manifest, msgspec.to_builtins(found))
    return msgspec.structs.replace(found, gates=judge(gates, printed))  # pyright: ignore


def close(verdicts: Sequence[Verdict], *, json: bool) -> None:
    """Say what became of gates, as a verb's last word.

    Raises:
        GateError: One fails; with `--json`, where it is printed already, the exit code alone.
    """
    from splitc.cli import show
    from splitc.figures.gate import require_gates

    if json:
        if not all(one.passed for one in verdicts):
            raise typer.Exit(GateError.exit_code)
        return
    for one in verdicts:
        state = "holds" if one.passed else "FAILS"
        line = show.plain(f"gate {one.gate} {state}: {one.why}")
        line.stylize("green" if one.passed else "bold red")
        show.out().print(line)
    require_gates(verdicts)
