# SPDX-License-Identifier: Apache-2.0
"""What of a build there is to do: keys, what is current, and groups that share a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splitc.builds.entry import Entry, files_below
from splitc.builds.inputs import Inputs, Known
from splitc.builds.key import NOT_KNOWN, Key, key_of
from splitc.builds.messages import Failure, Group, Task
from splitc.builds.record import Record, read_record, why_not
from splitc.errors import SplitcError

_PROCESS_BYTES = 10**9
"""What a process takes that compiles a small network, at most."""
_COPIES = 6
"""How often a compiler holds a network's weights, at most."""


@dataclass(frozen=True)
class Planned:
    """One bundle, looked at and not built.

    Args:
        number: Its place among the entries.
        entry: It.
        key: Of its build; None where its inputs are not known, or are wrong.
        why: Why it has to be built, in words; "" where it is current.
        failure: What is wrong with it already.
        inputs: The files that it is built from, as they were when its key was made.
    """

    number: int
    entry: Entry
    key: Key | None
    why: str
    failure: Failure | None
    inputs: dict[str, Known]


def look(entries: Sequence[Entry]) -> list[Planned]:
    """Find out which bundles are current, and why the others are not."""
    records = [read_record(entry.output) for entry in entries]
    known: dict[str, Known] = {}
    for record in records:
        known |= record.inputs if record is not None else {}
    inputs = Inputs(known)
    pairs = zip(entries, records, strict=True)
    return [_look(number, entry, record, inputs) for number, (entry, record) in enumerate(pairs)]


def _look(number: int, entry: Entry, record: Record | None, inputs: Inputs) -> Planned:
    try:
        entry.options.refuse()
        key = key_of(entry, inputs)
        read = inputs.read((entry.model, *entry.data)) if key is not None else {}
    except SplitcError as error:
        return Planned(number, entry, None, "", Failure.of(error), {})
    why = NOT_KNOWN if key is None else why_not(entry.output, key, record)
    return Planned(number, entry, key, why, None, read)


def groups_of(planned: Sequence[Planned], jobs: int) -> list[Group]:
    """What is to be compiled, in groups of one model each, the largest models first.

    Groups are divided where there are fewer of them than processes.
    """
    together: dict[object, list[Planned]] = {}
    for each in planned:
        together.setdefault((each.entry.folder, each.entry.options.source), []).append(each)
    most = max(1, -(-len(planned) // jobs)) if len(together) < jobs else len(planned)
    pieces = [
        each[at : at + most]
        for each in sorted(together.values(), key=lambda all_: -_model_bytes(all_[0].entry))
        for at in range(0, len(each), most)
    ]
    return [Group(tuple(map(_task, piece))) for piece in pieces]


def _task(each: Planned) -> Task:
    entry = each.entry
    return Task(each.number, entry.options, str(entry.folder), str(entry.output))


def usual_jobs(entries: Sequence[Entry]) -> int:
    """As many processes as there are cores, and as memory allows."""
    largest = max((_model_bytes(entry) for entry in entries), default=0)
    each = _PROCESS_BYTES + _COPIES * largest
    return max(1, min(len(os.sched_getaffinity(0)), _free_bytes() // each))


def _model_bytes(entry: Entry) -> int:
    if not entry.model.exists():
        return 0
    return sum(path.stat().st_size for path in files_below(entry.model))


def _free_bytes() -> int:
    """Memory that programs may take without others being pushed out."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return _PROCESS_BYTES
    words = {line.split(":")[0]: line.split()[1] for line in lines}
    return int(words.get("MemAvailable", "0")) * 1024
