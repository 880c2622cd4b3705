# SPDX-License-Identifier: Apache-2.0
"""`splitc sign`: a bundle signed by key, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splitc.cli import options as o


def sign(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    key: Annotated[
        str,
        typer.Option("--key", metavar="FILE", envvar="SPLITC_KEY",
                     help="Private key in PEM, on the curve P-256, P-384 or P-521; its password, "
                     "if it has one, in SPLITC_KEY_PASSWORD."),
    ],
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Sign BUNDLE: every file of it, in OpenSSF's model signing format, into BUNDLE/model.sig.

    Nothing is asked of the network. `splitc verify BUNDLE --signer PUBLIC_KEY` checks it.
    """
    from splitc.bundle.bundle import Bundle
    from splitc.cli import show
    from splitc.cli.pack_object import SignObject
    from splitc.runtime.manifest import SIGNATURE

    opened = Bundle.open(bundle)
    with show.progress(quiet) as step:
        step("checking files, signing them")
        known = opened.sign(Path(key))
    written = opened.path / SIGNATURE
    if json:
        show.print_json(SignObject(signature=str(written), key=known, digest=opened.digest))
        return
    console = show.out()
    console.print(f"wrote {written}", soft_wrap=True)
    console.print(f"  key sha256 {known}", soft_wrap=True)
    if not quiet:
        show.next_line(f"splitc verify {bundle} --signer PUBLIC_KEY")
