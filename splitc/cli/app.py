# SPDX-License-Identifier: Apache-2.0
"""The Typer application: verbs, config file, errors and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from splitc.builds import TABLES
from splitc.cli import was_interrupted
from splitc.cli.verbs import EPILOG, VERBS, Verbs
from splitc.errors import OutputError, SplitcError, UsageError, nearest
from splitc.version import __version__

CONFIG = "splitc.toml"

app = typer.Typer(
    name="splitc",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"splitc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Cut a network in two and compile a head for the device and a tail for the server."""


def read_config(folder: Path) -> dict[str, dict[str, Any]]:
    """Option defaults from `splitc.toml`: top level for all verbs, a table for one.

    Raises:
        UsageError: The file is malformed or names an unknown option.
    """
    path = folder / CONFIG
    if not path.is_file():
        return {}
    import tomllib

    try:
        data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"cannot read {CONFIG}", why=str(error)) from error
    command: Any = typer.main.get_command(app)
    options: dict[str, dict[str, str]] = {
        name: {
            _key(flag.lstrip("-")): p.name
            for p in sub.params
            for flag in (*p.opts, *p.secondary_opts)
            if flag.startswith("--")
        }
        for name, sub in command.commands.items()
    }
    if isinstance(data.get(TABLES), list):
        data.pop(TABLES)  # what `splitc build` is to build: no defaults
    tables: dict[str, dict[str, Any]] = {k: v for k, v in data.items() if isinstance(v, dict)}
    common = {_key(k): v for k, v in data.items() if k not in tables}
    everywhere = {key for known in options.values() for key in known}
    for key in common:
        if key not in everywhere:
            raise UsageError(f"{CONFIG}: unknown option '{key}'", hint=nearest(key, everywhere))
    merged = {
        verb: {known[key]: value for key, value in common.items() if key in known}
        for verb, known in options.items()
    }
    for verb, table in tables.items():
        if verb not in options:
            raise UsageError(f"{CONFIG}: unknown verb '{verb}'", hint=nearest(verb, options))
        for key, value in table.items():
            if _key(key) not in options[verb]:
                hint = nearest(_key(key), options[verb])
                raise UsageError(f"{CONFIG}: [{verb}] has no option '{key}'", hint=hint)
            merged[verb][options[verb][_key(key)]] = value
    return merged


def _key(name: str) -> str:
    return name.replace("-", "_")


def run(arguments: Sequence[str]) -> int:
    """Run the program and give its exit code; prints every error itself, and which packs are
    left out."""
    code = _run(arguments)
    # Whoever asked for packs has imported this; the program's own help has not.
    plugins = sys.modules.get("splitc.plugins")
    for broken in plugins.known_broken() if plugins else ():
        print(f"splitc: {broken}", file=sys.stderr)
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        config = read_config(Path.cwd()) if arguments else {}
        outcome = app(
            list(arguments), prog_name="splitc", standalone_mode=False, default_map=config
        )
        sys.stdout.flush()
        if was_interrupted():
            return _stopped()
        return outcome if isinstance(outcome, int) else 0
    except SplitcError as error:
        if was_interrupted():
            return _stopped()
        return report_error(error, as_json="--json" in arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except typer.TyperException as error:
        return report_usage(error, as_json="--json" in arguments)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # What was meant for standard output lies there still, and would fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = "standard output cannot be written"
        return report_error(OutputError(what, why=error.strerror or ""), as_json=False)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _stopped() -> int:
    print("splitc: stopped", file=sys.stderr)
    return 130


def report_usage(error: Any, *, as_json: bool) -> int:
    """Show a mistake in the command line itself."""
    if as_json:
        return report_error(UsageError(error.format_message()), as_json=True)
    error.show()
    return 2


def report_error(error: SplitcError, *, as_json: bool) -> int:
    """Print an error for people on stderr, or as one object on stdout."""
    if as_json:
        from splitc.cli.objects import ErrorObject
        from splitc.cli.show import print_json

        print_json(ErrorObject.of(error))
        return error.exit_code
    from rich.console import Console
    from rich.text import Text

    from splitc.cli.show import plain

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    console.print(Text.assemble((f"{error.kind}: ", "bold red"), plain(error.what)))
    for label, text in (("at", error.at), ("why", error.why), ("hint", error.hint)):
        if text:
            style = "green" if label == "hint" else "dim"
            console.print(Text.assemble((f"{label:>6}: ", style), plain(text)))
    return error.exit_code


__all__ = ["VERBS", "app", "read_config", "report_error", "report_usage", "run"]
