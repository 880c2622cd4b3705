# SPDX-License-Identifier: Apache-2.0
"""What `splitc pack`, `unpack` and `sign` print with `--json`, `verify` of files alone too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import Printed, ProofObject

if TYPE_CHECKING:
    from splitc.build.rebuild import Rebuilt


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


class SignObject(Printed, frozen=True):
    """`splitc sign`: the signature's file, sha256 of the public key, and the bundle's digest."""

    signature: str
    key: str
    digest: str


class RebuiltObject(msgspec.Struct, frozen=True, kw_only=True):
    """What compiling again gave: files that differ, are gone or new, and by tool the versions
    then and now where those differ."""

    same: bool
    files: int
    differs: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    tools: dict[str, tuple[str, str]]

    @staticmethod
    def of(found: Rebuilt) -> RebuiltObject:
        """What was found."""
        return RebuiltObject(
            same=found.same, files=found.files, differs=found.differs, missing=found.missing,
            extra=found.extra, tools=dict(found.tools),
        )  # fmt: skip


class FilesObject(Printed, frozen=True):
    """`splitc verify --no-run` and `--rebuild`: files, and nothing was run; `signer` is sha256 of
    the public key that signed them, null where that was not asked."""

    digest: str
    files: int
    signer: str | None
    rebuilt: RebuiltObject | None
    proofs: tuple[ProofObject, ...] = ()
