# SPDX-License-Identifier: Apache-2.0
"""Where a server writes what happens."""

from __future__ import annotations

import errno
import io
import json

from splitc.serve.journal import LineJournal


def test_events_are_lines_for_people_or_for_programs() -> None:
    plain, objects = io.StringIO(), io.StringIO()
    LineJournal(plain)("left", "a device\nleft", peer="1.2.3.4:5")
    LineJournal(objects, as_json=True, clock=lambda: 7.0)("left", "it left", answers=3)
    assert plain.getvalue() == "splitc: a device\N{REPLACEMENT CHARACTER}left\n"
    assert json.loads(objects.getvalue()) == {
        "time": 7.0, "event": "left", "text": "it left", "answers": 3,
    }  # fmt: skip


class Full(io.StringIO):
    """A file on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_ends_no_server() -> None:
    journal = LineJournal(Full())
    journal("left", "a device left")
    journal("left", "another left")
