# SPDX-License-Identifier: Apache-2.0
"""The one time that may be written into what is built: the environment's SOURCE_DATE_EPOCH.

References:
    https://reproducible-builds.org/specs/source-date-epoch/
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from splitc.errors import UsageError

VARIABLE = "SOURCE_DATE_EPOCH"
_LAST = 253_402_300_799
"""The last second of the year 9999."""


def source_date_epoch() -> int | None:
    """Seconds since 1970 as the environment has them; None where it says nothing.

    Raises:
        UsageError: They are no whole number, or beyond the year 9999.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 12 or int(text) > _LAST:
        hint = "seconds since 1970, like `git log -1 --format=%ct` prints"
        raise UsageError(f"{VARIABLE}={text[:40]!r} is no time", hint=hint)
    return int(text)


def date_of(seconds: int | None) -> datetime | None:
    """Seconds since 1970 as a date, in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def source_date() -> datetime | None:
    """What the environment has, as a date.

    Raises:
        UsageError: It is none.
    """
    return date_of(source_date_epoch())
