# SPDX-License-Identifier: Apache-2.0
"""`splitc report`: a bundle as a page for people, or as Markdown for a job's summary."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from splitc.cli import options as o
from splitc.cli.gates import FailOn
from splitc.errors import GateError, OutputError, UsageError

STDOUT = "-"


def report_(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE",
                     help="File to write, [b]-[/] for standard output [BUNDLE.html; Markdown: -]."),
    ] = None,
    format_: Annotated[
        str,
        typer.Option("--format", "-f", metavar="html|md",
                     help="A page that needs nothing else, or Markdown for a job's summary."),
    ] = "html",
    measured: Annotated[
        list[str] | None,
        typer.Option("--measured", "-m", metavar="FILE.json",
                     help="What [b]bench --json[/] or [b]verify --json[/] printed, to put it "
                     "beside what was predicted. Repeatable."),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Show the page in the browser.")
    ] = False,
    fail_on: FailOn = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Write what BUNDLE is and why it was cut there: a page, or Markdown.

    It is made from the bundle alone and is the same for the same bundle.
    """
    from splitc.bundle.bundle import Bundle
    from splitc.cli import show
    from splitc.figures.gate import require_gates
    from splitc.reporting.make import FORMATS, Format, facts_of, write

    if format_ not in FORMATS:
        raise UsageError(f"--format {format_}", hint=f"one of: {', '.join(FORMATS)}")
    form: Format = "md" if format_ == "md" else "html"
    if open_ and (form != "html" or output == STDOUT):
        raise UsageError("--open shows a page in a file", hint="leave out --format md and -o -")
    opened = Bundle.open(bundle)
    facts = facts_of(opened, measured or (), fail_on or ())
    text = write(facts, form)
    path = None if output == STDOUT else output and Path(output)
    if output is None and form == "html":
        path = Path(f"{opened.path.resolve().name.removesuffix('.splitc')}.html")
    if path:
        _write(path, text, opened.path)
    if json:
        from splitc.cli.objects import ReportObject

        show.print_json(
            ReportObject(
                bundle=bundle, format=form, file=str(path) if path else None,
                bytes=len(text.encode()), sha256=hashlib.sha256(text.encode()).hexdigest(),
                text=None if path else text, gates=facts.gates,
            )
        )  # fmt: skip
    elif path:
        show.out().print(show.plain(f"wrote {path}  {show.short_bytes(len(text.encode()))}"))
    else:
        sys.stdout.write(text)
    if path and open_ and not webbrowser.open(path.resolve().as_uri()) and not quiet:
        show.err().print(show.plain(f"note: no browser was found to show {path}"))
    if json and not all(one.passed for one in facts.gates):
        raise typer.Exit(GateError.exit_code)
    require_gates(() if json else facts.gates)


def _write(path: Path, text: str, bundle: Path) -> None:
    """Write a file beside its place and rename it: it is whole, or as it was.

    Raises:
        UsageError: It would lie in the bundle, whose files are all in its manifest.
        OutputError: It cannot be written.
    """
    if path.resolve().is_relative_to(bundle.resolve()):
        why = "the files of a bundle are those that its manifest lists"
        raise UsageError(f"-o {path} lies in the bundle", why=why, hint="write it elsewhere")
    beside: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        beside = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        beside.replace(path)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"cannot write '{path}'", why=why, hint="choose another -o") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)
