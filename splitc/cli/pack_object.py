# SPDX-License-Identifier: Apache-2.0
"""What `splitc pack` and `splitc unpack` print with `--json`."""

from __future__ import annotations

from splitc.cli.objects import Printed


class PackObject(Printed, frozen=True):
    """`splitc pack`: what was written, its size and sha256; `digest` of the bundle in it, and
    whose builds for the machine that compiled it were left out."""

    packed: str
    format: str
    bytes: int
    sha256: str
    digest: str
    left_out: tuple[str, ...]


class UnpackObject(Printed, frozen=True):
    """`splitc unpack`: the folder that was written, and the bundle's digest."""

    bundle: str
    digest: str
