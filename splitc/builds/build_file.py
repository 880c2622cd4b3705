# SPDX-License-Identifier: Apache-2.0
"""Files that say which bundles to build: `[[bundle]]` tables of compile options."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from splitc.build.options import CompileOptions
from splitc.builds import TABLES
from splitc.builds.entry import Entry
from splitc.errors import UsageError, nearest

_OUTPUT, _FAIL_ON = "output", "fail_on"
_MOST = 10_000
_MOST_BYTES = 4 * 2**20
_FIELDS = {one.name: one for one in msgspec.structs.fields(CompileOptions)}
_HERE = "compile"
"""The table with defaults of `splitc compile`, which hold for bundles of the file too."""


def read_build_file(path: Path) -> tuple[Entry, ...]:
    """The bundles that a file says to build, in its order.

    In a `[[bundle]]` table any option of `splitc compile` is a key. Where an option that takes
    one value has a list, there is a bundle for each of them; of several such lists, for each
    combination. Options at the top of the file and in `[compile]` are defaults.

    Raises:
        UsageError: The file is not there or malformed, an option is unknown, or two bundles would
            be written to one place.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise UsageError(f"'{path}' is over {_MOST_BYTES:,} bytes")
        found = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        hint = f"write one with [[{TABLES}]] tables, or name a model: splitc build net.onnx"
        raise UsageError(f"cannot read '{path}'", why=error.strerror or "", hint=hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"cannot read '{path}'", why=str(error)) from error
    tables: Any = found.get(TABLES)
    if not _are(tables, dict):
        hint = f'add one: [[{TABLES}]] and, below it, model = "net.onnx"'
        raise UsageError(f"'{path}' has no [[{TABLES}]] table", hint=hint)
    defaults = {
        name: value
        for table in (found, found.get(_HERE, {}))
        for key, value in table.items()
        if (name := _name(key)) in _FIELDS and not isinstance(value, dict)
    }
    return entries_of(tables, path.parent, defaults, str(path))


def entries_of(
    tables: Sequence[Mapping[str, Any]], folder: Path,
    defaults: Mapping[str, Any] | None = None, where: str = "",
) -> tuple[Entry, ...]:  # fmt: skip
    """The bundles that tables describe; see `read_build_file`.

    Args:
        tables: Options by name, words joined by `-` or `_`.
        folder: What paths are relative to.
        defaults: Options that hold where a table does not have them.
        where: The file's name, for errors.

    Raises:
        UsageError: An option is unknown or malformed, or two bundles would be in one place.
    """
    entries: list[Entry] = []
    for number, table in enumerate(tables, start=1):
        at = f"{where}: [[{TABLES}]] number {number}" if where else f"bundle {number}"
        entries += _entries(table, defaults or {}, folder.resolve(), at)
        if len(entries) > _MOST:
            raise UsageError(f"over {_MOST:,} bundles", at=at)
    return distinct(entries, where)


def distinct(entries: Iterable[Entry], where: str = "") -> tuple[Entry, ...]:
    """Bundles that are each to be written somewhere else.

    Raises:
        UsageError: Two would be in one place.
    """
    places: dict[Path, Entry] = {}
    for entry in entries:
        if places.setdefault(entry.output, entry) is not entry:
            hint = 'tell them apart: output = "{model}-{target}.splitc"'
            what = f"two bundles would be written to '{entry.named}'"
            raise UsageError(what, at=where, hint=hint)
    return tuple(places.values())


def _entries(
    table: Mapping[str, Any], defaults: Mapping[str, Any], folder: Path, at: str
) -> Iterator[Entry]:
    given = {_name(key): value for key, value in table.items()}
    for key in given:
        if key not in _FIELDS and key not in (_OUTPUT, _FAIL_ON):
            known = [name.replace("_", "-") for name in (*_FIELDS, _OUTPUT, _FAIL_ON)]
            shown = key.replace("_", "-")
            raise UsageError(f"unknown option '{shown}'", at=at, hint=nearest(shown, known))
    if "model" not in given:
        raise UsageError("no model", at=at, hint='add model = "net.onnx"')
    output, gates = given.pop(_OUTPUT, ""), given.pop(_FAIL_ON, [])
    gates = [gates] if isinstance(gates, str) else gates
    if not isinstance(output, str) or not _are(gates, str):
        raise UsageError("output is text, fail-on a list of texts", at=at)
    several = [name for name, value in given.items() if isinstance(value, list) and name != "input"]
    for values in product(*(given[name] for name in several)):
        chosen = {**defaults, **given, **dict(zip(several, values, strict=True))}
        yield entry_of(_options(chosen, at), folder, output, gates, several, at)


def entry_of(
    options: CompileOptions, folder: Path, output: str = "", fail_on: Sequence[str] = (),
    several: Sequence[str] = (), at: str = "",
) -> Entry:  # fmt: skip
    """One bundle to build.

    Args:
        options: What is asked; paths in it are relative to `folder`.
        folder: That folder.
        output: Where the bundle goes, options' names in braces standing for what they are.
        fail_on: Gates that it has to pass, as text.
        several: The options that tell it from others, for a name where `output` says none.
        at: Where it was asked for, in words.

    Raises:
        UsageError: `output` has braces around what is no option.
    """
    home = folder.resolve()
    boards = {
        name: str(home / board)
        for name in ("target", "tail_target")
        if (board := getattr(options, name)).endswith(".toml")
    }
    options = msgspec.structs.replace(options, **boards)
    place = _filled(output, options, at) or _by_default(options, several)
    return Entry(options, home / place, home, tuple(fail_on))


def _options(given: Mapping[str, Any], at: str) -> CompileOptions:
    """The options that a table's values are; a number stands for its text where text is meant."""
    values = {
        name: str(value)
        if "str" in str(_FIELDS[name].type) and type(value) in (int, float) else value
        for name, value in given.items()
    }  # fmt: skip
    try:
        options = msgspec.convert(values, CompileOptions)
    except msgspec.ValidationError as error:
        raise UsageError("an option has a wrong value", at=at, why=str(error)) from error
    if not options.model or "\0" in options.model:
        raise UsageError("no model", at=at, hint='add model = "net.onnx"')
    return options


def _filled(output: str, options: CompileOptions, at: str) -> str:
    """An output's name with options in the place of `{target}` and the like."""
    fields = {name: _word(getattr(options, name)) for name in _FIELDS}
    fields["model"] = options.source.name
    try:
        return output.format_map(fields)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        name = str(error).strip("'")
        hint = nearest(name, fields) if isinstance(error, KeyError) else "write {{ for a brace"
        raise UsageError(f"output '{output}' names no option", at=at, hint=hint) from error


def _by_default(options: CompileOptions, several: Sequence[str]) -> str:
    """The model's name and whatever else there is a list of."""
    from splitc.bundle.bundle import SUFFIX

    words = [_word(getattr(options, name)) for name in several if name != "model"]
    return "-".join([options.source.name, *words]) + SUFFIX


def _word(value: object) -> str:
    """An option's value as a part of a file's name."""
    text = Path(value).stem if isinstance(value, str) and value.endswith(".toml") else str(value)
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in text).strip("-")


def _are(values: object, kind: type) -> bool:
    """Whether values are a list of some kind."""
    found: Any = values
    return isinstance(values, list) and all(isinstance(one, kind) for one in found)


def _name(key: str) -> str:
    return key.replace("-", "_")
