# SPDX-License-Identifier: Apache-2.0
"""What `splitc fit` prints with `--json`."""

from __future__ import annotations

from splitc.cli.objects import Printed
from splitc.cost.regression import Fit


class FitObject(Printed, frozen=True, kw_only=True):
    """`splitc fit`: the file that was written, and what is in it."""

    file: str
    fit: Fit
