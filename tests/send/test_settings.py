# SPDX-License-Identifier: Apache-2.0
"""What people write, and what is refused of it."""

from __future__ import annotations

from typing import Any

import pytest

from splitc.errors import UsageError
from splitc.send.settings import Settings


def test_what_people_write_is_read() -> None:
    settings = Settings.of(
        transport="parity", parity="30%", deadline="50ms", grace="300us", bandwidth="20Mbit",
        silent_after=2, when_silent="last",
    )  # fmt: skip
    assert settings == Settings(
        transport="parity", parity_percent=30, deadline_s=0.05, grace_s=0.0003,
        bandwidth_bps=20e6, silent_after_s=2.0, when_silent="last",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ({"transport": "sctp"}, "there is no transport 'sctp'"),
        ({"when_silent": "panic"}, "there is no when-silent 'panic'"),
        ({"parity": "a lot"}, "'a lot' is no percentage"),
        ({"parity": "0%"}, "parity 0 is out of range"),
        ({"parity": 101}, "parity 101 is out of range"),
        ({"deadline": "soon"}, "'soon' is no duration"),
        ({"deadline": 0}, "deadline 0 is out of range"),
        ({"mtu": 95}, "mtu 95 is out of range"),
        ({"mtu": 65_536}, "mtu 65536 is out of range"),
        ({"bandwidth": "fast"}, "'fast' is no bandwidth"),
        ({"in_flight": 0}, "in-flight 0 is out of range"),
        ({"silent_after": "0s"}, "silent-after 0 is out of range"),
    ],
)
def test_what_makes_no_sense_is_named(option: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Settings.of(**option)
