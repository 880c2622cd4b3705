# SPDX-License-Identifier: Apache-2.0
"""A bundle compiled again as it says it was, and held against itself byte by byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from splitc.build.options import DATA, CompileOptions
from splitc.bundle.bundle import Bundle
from splitc.bundle.record import BuildRecord, DataFile, read_record
from splitc.bundle.runnable import twin_folder
from splitc.cost.topology import DEVICE, SERVER
from splitc.errors import BadBundleError, BadModelError, UsageError, VerificationError
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import Manifest
from splitc.scratch import scratch
from splitc.search.cutter import Cutter

_SHOWN = 8


@dataclass(frozen=True)
class Rebuilt:
    """How a bundle that was compiled again differs from the one that was given.

    Args:
        files: How many it has.
        differs: Those whose bytes are others.
        missing: Those that the new one has not.
        extra: Those that only the new one has.
        tools: Versions then and now of tools whose versions differ; "" for none.
    """

    files: int
    differs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    tools: Mapping[str, tuple[str, str]] = dataclasses.field(
        default_factory=dict[str, tuple[str, str]]
    )

    @property
    def same(self) -> bool:
        """Whether every byte is the same."""
        return not (self.differs or self.missing or self.extra)

    def require(self) -> None:
        """Raise where something differs.

        Raises:
            VerificationError: Names the files, and tools of other versions.
        """
        if self.same:
            return
        groups = (("", self.differs), ("missing: ", self.missing), ("new: ", self.extra))
        named = [f"{what}{name}" for what, names in groups for name in names]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        tools = [f"{name} {was or 'none'} -> {now or 'none'}" for name, (was, now) in
                 self.tools.items()]  # fmt: skip
        raise VerificationError(
            "the bundle compiled again has other bytes",
            at=", ".join(named[:_SHOWN]) + more,
            why=f"other tools: {'; '.join(tools)}" if tools else "every tool has the same version",
            hint="install the versions that made it" if tools else "it was not made from this",
        )


def rebuild(
    bundle: Bundle,
    model: str | Path,
    *,
    files: Mapping[str, str | Path] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Rebuilt:
    """Compile a bundle again, with the options and for the boards that it records.

    Nothing that the bundle names is read from this machine: the model and each file beside it
    are given, and have to be the ones that it was made of.

    Args:
        bundle: The bundle.
        model: Its model: a file, a fine-tuned folder, or FILE.py:FUNCTION.
        files: What was read beside it, by option: `calibrate`, `plan`, profiles, and what a
            cutter reads, like `importance`.
        progress: Called with each step's name.

    Raises:
        BadBundleError: A file is altered, or it does not say how it was made.
        BadModelError: It is another model than the bundle's.
        UsageError: A file beside it is missing, or another one.
        SplitcError: It cannot be compiled here.
    """
    bundle.check()
    record = read_record(bundle.path)
    options = _options(bundle, record, str(model), files or {})
    twins = any(twin_folder(bundle.path, name).is_dir() for name in bundle.manifest.parts)
    # What the check measured of rounding stands in the manifest, where it measured any.
    checked = bool(bundle.manifest.rounding)
    options = msgspec.structs.replace(
        options, check=checked, twin=twins, tune_seconds=0.0, tune_rpc="",
    )  # fmt: skip
    progress(f"reading {model}")
    loaded = options.load()
    wanted = bundle.manifest.source.sha256
    if loaded.digest != wanted:
        why = f"its sha256 is {loaded.digest[:16]}…, the bundle's {wanted[:16]}…"
        raise BadModelError("it is another model than the bundle's", at=str(model), why=why)
    job = dataclasses.replace(
        options.job(loaded, record.boards), name=bundle.manifest.name, asked=record.options,
        data=record.data, epoch=record.source_date_epoch,
    )  # fmt: skip
    with scratch() as room:
        again = options.build(job, room / "again.splitc", progress=progress)
        return _compared(bundle, again)


def _options(
    bundle: Bundle, record: BuildRecord, model: str, files: Mapping[str, str | Path]
) -> CompileOptions:
    """The options that it was compiled with, and the files that are given in place of its own.

    Raises:
        BadBundleError: It has none, or some that there are not.
        UsageError: A file is missing, or another one.
    """
    if not record.options:
        why = "it was made from objects in Python, not from options"
        raise BadBundleError("the bundle does not say how it was compiled", why=why)
    named = {one.option: one for one in record.data}
    asked = {**record.options, "model": model}
    if unknown := files.keys() - named.keys():
        option = min(unknown).replace("_", "-")
        raise UsageError(f"the bundle was made without --{option}", hint="leave it out")
    told = _converted(bundle, asked).cutter
    cutter = Cutter.parse(told) if told else None
    inside = cutter.reads if cutter else {}
    for option in (named.keys() | {*DATA} & asked.keys()) - inside.keys():
        asked[option] = _given(option, named.get(option), files)
    if cutter:
        again = {option: _given(option, named.get(option), files) for option in inside}
        asked["cutter"] = str(cutter.reading(again))
    if not {DEVICE, SERVER} <= record.boards.keys():
        raise BadBundleError("the bundle does not say what it was compiled for")
    return _converted(bundle, asked)


def _converted(bundle: Bundle, asked: Mapping[str, Any]) -> CompileOptions:
    try:
        return msgspec.convert(asked, CompileOptions)
    except msgspec.ValidationError as error:
        what = "the bundle was compiled with options that this splitc has not"
        raise BadBundleError(what, at=str(bundle.path), why=str(error)) from error


def _given(option: str, wanted: DataFile | None, files: Mapping[str, str | Path]) -> str:
    """The file that is given for an option, which has to be the one that was read."""
    if wanted is None:
        raise BadBundleError(f"the bundle does not say which file --{option} was")
    path = files.get(option)
    if path is None:
        why = f"it was compiled with {wanted.name}, sha256 {wanted.sha256[:16]}…"
        raise UsageError(f"the bundle needs --{option.replace('_', '-')} too", why=why)
    if not Path(path).is_file():
        raise UsageError(f"there is no file '{path}'")
    found = file_entry(Path(path)).sha256
    if found != wanted.sha256:
        why = f"its sha256 is {found[:16]}…, that of {wanted.name} was {wanted.sha256[:16]}…"
        raise UsageError(f"'{path}' is not what the bundle was made with", why=why)
    return str(path)


def _compared(then: Bundle, now: Bundle) -> Rebuilt:
    one, two = then.digests(), now.digests()
    return Rebuilt(
        files=len(one),
        differs=tuple(sorted(name for name in one.keys() & two.keys() if one[name] != two[name])),
        missing=tuple(sorted(one.keys() - two.keys())),
        extra=tuple(sorted(two.keys() - one.keys())),
        tools=_tools(then.manifest, now.manifest),
    )


def _tools(then: Manifest, now: Manifest) -> dict[str, tuple[str, str]]:
    names = sorted(then.tools.keys() | now.tools.keys())
    both = {name: (then.tools.get(name, ""), now.tools.get(name, "")) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}
