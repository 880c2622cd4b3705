# SPDX-License-Identifier: Apache-2.0
"""`splitc pack` and `splitc unpack`: a bundle as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.errors import UsageError

if TYPE_CHECKING:
    from splitc.bundle.contents import Contents


def pack(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder written by compile.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE",
                     help="File to write [BUNDLE.zip, BUNDLE.oci.tar]."),
    ] = None,
    form: Annotated[
        str,
        typer.Option("--format", metavar="zip|oci",
                     help="A zip; or a tar of an OCI image layout, with head and tail as two "
                     "platforms, for registries."),
    ] = "zip",
    with_twin: Annotated[
        bool,
        typer.Option("--with-twin", help="Builds for the machine that compiled it too, which "
                     "[b]verify[/] and [b]run[/] need where the device itself is not at hand."),
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Write BUNDLE as one file: the same bytes for the same bundle, on any machine.

    Times in it are SOURCE_DATE_EPOCH's, or 1980 in a zip and 1970 in an image.
    """
    from splitc.bundle import image, pack
    from splitc.bundle.bundle import Bundle
    from splitc.cli import show

    if form not in ("zip", "oci"):
        raise UsageError(f"--format {form}", hint="one of: zip, oci")
    opened = Bundle.open(bundle)
    folder, suffix = opened.path.resolve(), pack.SUFFIX if form == "zip" else image.SUFFIX
    target = Path(output) if output is not None else opened.path.with_name(folder.name + suffix)
    with show.progress(quiet) as step:
        step("checking files")
        contents = opened.contents(with_twin=with_twin)
        step("packing")
        if form == "zip":
            pack.write_zip(contents, target)
        else:
            image.write_image(contents, target)
    _report(contents, target, form, json=json, quiet=quiet)


def _report(contents: Contents, target: Path, form: str, *, json: bool, quiet: bool) -> None:
    """Say what was written, and what was left out."""
    from splitc.cli import show
    from splitc.cli.pack_object import PackObject
    from splitc.runtime.files import file_entry

    entry = file_entry(target)
    if json:
        show.print_json(
            PackObject(
                packed=str(target), format=form, bytes=entry.bytes, sha256=entry.sha256,
                digest=contents.digest, left_out=contents.left_out,
            )
        )  # fmt: skip
        return
    console = show.out()
    console.print(f"wrote {target}  {show.short_bytes(entry.bytes)}", soft_wrap=True)
    console.print(f"  sha256 {entry.sha256}", soft_wrap=True)
    if contents.left_out and not quiet:
        which = ", ".join(f"golden/{name}" for name in contents.left_out)
        console.print(f"  without {which}: --with-twin packs what verify runs here")


def unpack_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Zip written by pack.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write [FILE.splitc]."),
    ] = None,
    max_bytes: Annotated[
        str,
        typer.Option("--max-bytes", metavar="SIZE", envvar="SPLITC_MAX_BYTES",
                     help="Refuse what unpacks to more."),
    ] = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Write the bundle in FILE as a folder again, every file of it checked.

    Nothing is written that its manifest does not list, and nothing outside the folder.
    """
    from splitc.bundle.unpack import unpack
    from splitc.cli import show
    from splitc.cli.pack_object import UnpackObject

    with show.progress(quiet) as step:
        step(f"unpacking {file}")
        bundle = unpack(file, output, max_bytes=o.parse_bytes(max_bytes))
    if json:
        show.print_json(UnpackObject(bundle=str(bundle.path), digest=bundle.digest))
        return
    console = show.out()
    console.print(f"wrote {bundle.path}/", soft_wrap=True)
    console.print(f"  digest sha256 {bundle.digest}", soft_wrap=True)
    if not quiet:
        show.next_line(f"splitc serve {bundle.path}")
