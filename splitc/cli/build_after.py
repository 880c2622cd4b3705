# SPDX-License-Identifier: Apache-2.0
"""What `splitc build` does with the bundles once they are there: for CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.builds.compare import Compared
    from splitc.builds.run import Builds

AFTER = "After it"


@dataclass(frozen=True)
class AfterFlags:
    """Flags that look at bundles and change none."""

    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="PATH", rich_help_panel=AFTER,
                     help="Compare with the last release: a bundle, a file of "
                     "[b]splitc baseline[/], or a folder that holds one named like each bundle."),
    ] = None  # fmt: skip
    tolerance: Annotated[
        list[str] | None,
        typer.Option("--tolerance", metavar="[FIGURE=]SHARE", rich_help_panel=AFTER,
                     help="End with exit code 9 where a figure is worse than the baseline's by "
                     "more: [b]5%[/], [b]head_ms=10%[/]. Repeatable."),
    ] = None  # fmt: skip
    summary: Annotated[
        str | None,
        typer.Option("--summary", metavar="FILE.md", rich_help_panel=AFTER,
                     help="Write in Markdown what was built, what changed since the baseline and "
                     "what failed."),
    ] = None  # fmt: skip

    json_to: Annotated[
        str | None,
        typer.Option("--json-to", metavar="FILE.json", rich_help_panel=AFTER,
                     help="Write there what [b]--json[/] prints, and print for people."),
    ] = None  # fmt: skip

    def refuse(self) -> None:
        """Refuse what cannot be, before anything is built.

        Raises:
            UsageError: There is no such baseline, or tolerances without one.
        """
        if self.tolerance and self.baseline is None:
            raise UsageError("--tolerance without a baseline", hint="name it: --baseline PATH")
        if self.baseline is not None:
            from splitc.builds.compare import refuse_baseline

            refuse_baseline(Path(self.baseline), self.tolerance or ())

    def compare(self, builds: Builds) -> tuple[Compared, ...]:
        """The bundles beside the last release; none where there is no baseline."""
        if self.baseline is None:
            return ()
        from splitc.builds.compare import compare

        return compare(builds, self.baseline, self.tolerance or ())

    def write(self, builds: Builds, compared: tuple[Compared, ...]) -> None:
        """Write the summary, and what was built as JSON.

        Raises:
            OutputError: One cannot be written.
        """
        if self.summary is not None:
            from splitc.builds.summary import summary

            _write(Path(self.summary), summary(builds, compared).encode())
        if self.json_to is not None:
            from splitc.cli import show
            from splitc.cli.build_object import BuildObject

            _write(
                Path(self.json_to), f"{show.as_json(BuildObject.of(builds, compared))}\n".encode()
            )


def exit_code(builds: Builds, compared: Sequence[Compared]) -> int:
    """That of the build, or of the first bundle that fails beside the last release; 9 where
    nothing fails but gates and figures that got worse."""
    codes = [builds.exit_code, *(each.failure.exit_code for each in compared if each.failure)]
    return next((code for code in codes if code not in (0, 9)), max(codes))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"cannot write '{path}'", why=error.strerror or str(error)) from error
