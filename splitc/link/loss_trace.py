# SPDX-License-Identifier: Apache-2.0
"""Recorded packet losses: which packets of a stream did not arrive."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError

COLUMN = "lost"
"""The column that is read of a CSV file with a header."""


def loss_trace(source: Sequence[int] | NDArray[Any] | str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Which packets a trace lost, in order.

    A file holds 1 for a lost packet and 0 for one received, separated by white space,
    commas or semicolons, on any number of lines; or it is CSV with a header, and its
    column `lost` is read. Lines that begin with `#` are comments.

    Args:
        source: The numbers, or the file.

    Returns:
        True for a lost packet [packets].

    Raises:
        UsageError: It cannot be read, is empty, holds something else than 0 and 1, or
            loses every packet.
    """
    if isinstance(source, str | os.PathLike):
        where = str(Path(source))
        words = _words(Path(source))
    else:
        where = "trace"
        words = [f"{value:g}" for value in np.asarray(source, np.float64).reshape(-1).tolist()]
    strange = next((i for i, word in enumerate(words) if word not in ("0", "1")), None)
    if strange is not None:
        what = f"packet {strange} of the trace is '{words[strange]:.20}'"
        raise UsageError(what, at=where, hint="1 is a lost packet, 0 one received")
    lost = np.array([word == "1" for word in words], np.bool_)
    if lost.all():
        why = "it loses every packet" if len(lost) else "it is empty"
        raise UsageError("the trace says nothing about a link", at=where, why=why)
    return lost


def _words(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the trace {path}", why=str(error)) from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and any(letter.isalpha() for letter in lines[0]):
        rows = csv.DictReader(lines, skipinitialspace=True)
        if COLUMN not in (rows.fieldnames or ()):
            why = f"its columns are {', '.join(rows.fieldnames or ())}"
            raise UsageError(f"the trace has no column '{COLUMN}'", at=str(path), why=why)
        return [(row[COLUMN] or "").strip() for row in rows]
    return " ".join(lines).replace(",", " ").replace(";", " ").split()
