# SPDX-License-Identifier: Apache-2.0
"""What was measured, on disk: one line of JSON for each kernel.

A line holds the kernel in words, the model's choice, and each choice's seconds::

    {"kernel": "Conv(batch=1, …)", "analytic": "direct 14x2 pixels outer",
     "seconds": {"direct 14x2 pixels outer": 0.00031, "winograd 4": 0.00022}}

The choices of a line were measured in turns, so that what else the machine did met all of them;
times of different lines are not compared. A kernel's last line counts. TVM's own `JSONDatabase`
is not used: of this release (0.27.0.post1), writing any tensor IR as JSON ends the process.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from splitc.cache import cache_dir
from splitc.cost.board import Board
from splitc.errors import ToolchainError
from splitc_targets.kernels.choice import Choice, Product
from splitc_targets.machine.machine import machine_of
from splitc_targets.pipeline import NAME


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel's measured choices, in seconds."""

    kernel: str
    analytic: str
    seconds: dict[str, float]

    @property
    def best(self) -> Choice | None:
        """The quickest choice where it beats the model's clearly; None for the model's."""
        here = self.seconds.get(self.analytic)
        if here is None:
            return None
        name = min(self.seconds, key=lambda text: (self.seconds[text], text))
        return Choice.parse(name) if self.seconds[name] < _CLEARLY * here else None


@dataclass(frozen=True)
class Database:
    """Records of one target, schedule and release of TVM; also what rules ask.

    Args:
        path: The file.
        records: What it holds, by kernel.
    """

    path: Path
    records: dict[str, Record]

    @staticmethod
    def open(path: Path) -> Database:
        """The records of a file; none where there is no file. Lines cut short are skipped."""
        records: dict[str, Record] = {}
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
        except OSError as error:
            raise _unusable(path, error) from error
        for line in lines:
            try:
                record = msgspec.json.decode(line, type=Record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            records[record.kernel] = record
        return Database(path, records)

    def best(self, product: Product) -> Choice | None:
        """The choice for a kernel; None leaves it to the model."""
        record = self.records.get(name_of(product))
        return None if record is None else record.best

    def add(self, record: Record) -> None:
        """Keep a record, on disk at once."""
        self.records[record.kernel] = record
        data = json.dumps(msgspec.to_builtins(record), ensure_ascii=False).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                end = file.seek(0, os.SEEK_END)
                torn = end > 0 and _byte(file, end - 1) != b"\n"
                file.write((b"\n" if torn else b"") + data + b"\n")
        except OSError as error:
            raise _unusable(self.path, error) from error


@dataclass(frozen=True)
class Tuned:
    """A lowered part and what is known of its kernels."""

    lowered: Any
    database: Database


def _byte(file: Any, at: int) -> bytes:
    file.seek(at)
    return file.read(1)


def _unusable(path: Path, error: OSError) -> ToolchainError:
    return ToolchainError(
        "the tuning database cannot be used",
        at=str(path),
        why=error.strerror or "",
        hint="name another folder in SPLITC_CACHE_DIR",
    )


def database_path(board: Board, tvm: str) -> Path:
    """Where a board's records are kept: other cores, schedules and TVM releases have others."""
    described = repr(
        (board.processor.triple, board.processor.cpu, board.processor.features, machine_of(board))
    )
    digest = hashlib.sha256(described.encode()).hexdigest()[:8]
    name = f"{board.name}-{digest}-{NAME}-tvm{tvm}"
    return cache_dir() / "tuning" / f"{name}.jsonl"


def name_of(product: Product) -> str:
    """A kernel in words that are the same in every process."""
    return repr(product)


_CLEARLY = 0.95
"""Share of the model's time that a choice must stay below: less may be chance."""
