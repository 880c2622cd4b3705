# SPDX-License-Identifier: Apache-2.0
"""What `splitc profile` prints with `--json`."""

from __future__ import annotations

from splitc.cli.objects import Printed
from splitc.cost.profile import Profile


class ProfileObject(Printed, frozen=True, kw_only=True):
    """`splitc profile`: the file that was written, what is in it, and its kernels' sum."""

    file: str
    kernels_ms: float
    profile: Profile
