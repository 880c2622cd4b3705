# SPDX-License-Identifier: Apache-2.0
"""The report of a bundle as text: a page, or Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from splitc.bundle.bundle import Bundle
from splitc.errors import UsageError, nearest
from splitc.figures.gate import judge, parse_gates
from splitc.figures.values import of_bundle, of_printed
from splitc.reporting.facts import Facts
from splitc.reporting.measured import read_measured
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import Manifest

PAGE = "report.html"
Format = Literal["html", "md"]
FORMATS: tuple[Format, ...] = ("html", "md")


def report(
    bundle: Bundle | str | Path,
    *,
    format: Format = "html",
    measured: Sequence[str | os.PathLike[str]] = (),
    gates: Sequence[str] = (),
) -> str:
    """What a bundle is and why it was cut there; the same text for the same bundle.

    Args:
        bundle: A bundle, or its folder. No code of it is loaded.
        format: `html` for a page that needs nothing else, `md` for GitHub-flavoured Markdown.
        measured: Files that `splitc bench --json` and `splitc verify --json` wrote: what was
            measured is put beside what was predicted.
        gates: Limits on the bundle's figures and those, like `head_ms>40`: what becomes of them
            is a table in the report.

    Raises:
        UsageError: No such format or figure; a file that is none of those, or of another
            bundle.
        BadBundleError: A manifest or the report's data is missing, malformed or altered.
    """
    if format not in FORMATS:
        hint = nearest(format, FORMATS)
        raise UsageError(f"there is no format '{format}' of a report", hint=hint)
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    return write(facts_of(opened, measured, gates), format)


def facts_of(
    bundle: Bundle, measured: Sequence[str | os.PathLike[str]] = (), gates: Sequence[str] = ()
) -> Facts:
    """What a report is made from; see `report`."""
    manifest = bundle.manifest
    wanted = parse_gates(gates, "report", [route.name for route in manifest.routes])
    facts = Facts.of(bundle, read_measured(measured, manifest))
    values = [of_printed(manifest, one) for one in facts.measured.printed]
    return replace(facts, gates=judge(wanted, of_bundle(bundle), *values))


def add_page(folder: Path, manifest: Manifest) -> Manifest:
    """Write the page of a bundle whose data is in its folder; the manifest with it listed.

    It is what `report` makes of the bundle later.
    """
    page = folder / PAGE
    page.write_text(write(Facts.of(Bundle(folder, manifest))), "utf-8")
    files = {**manifest.files, PAGE: file_entry(page)}
    return msgspec.structs.replace(manifest, files=dict(sorted(files.items())))


def write(facts: Facts, format: Format = "html") -> str:
    """A report in one of its formats."""
    if format == "md":
        from splitc.reporting.markdown import markdown

        return markdown(facts)
    from splitc.reporting.page import page

    return page(facts)
