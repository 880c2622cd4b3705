# SPDX-License-Identifier: Apache-2.0
"""A bundle as an image for registries: head and tail as two platforms of one.

References:
    OCI Image Format 1.1, image-layout.md and image-index.md.
    CNCF ModelPack model-spec v1, media types of manifest, config and layers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from splitc.bundle.contents import Contents, Entry
from splitc.bundle.pack import replacing
from splitc.bundle.tar import Measure, Sink, TarFile, write_tar
from splitc.cost.topology import DEVICE
from splitc.epoch import date_of, source_date_epoch
from splitc.errors import BadBundleError
from splitc.runtime.manifest import MANIFEST, PartManifest

SUFFIX = ".oci.tar"

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MODEL = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG = "application/vnd.cncf.model.config.v1+json"
_LAYER = "application/vnd.cncf.model.{}.v1.tar"
_FILE_PATH = "org.cncf.model.filepath"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""By the names that splitc has for instruction sets."""


@dataclass(frozen=True)
class _Blob:
    """A part of the image, under its digest."""

    media: str
    sha256: str
    file: TarFile

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """What refers to it."""
        digest = f"sha256:{self.sha256}"
        return {"mediaType": self.media, "digest": digest, "size": self.file.bytes, **more}


def write_image(contents: Contents, target: Path) -> None:
    """Write a tar of an OCI image layout with one index of two images.

    The device's has its parts alone, for its platform. The server's is all of the bundle: what
    both have is one blob. Where all runs on one side there is one image, of all of the bundle.
    Layers are tars without compression, whose bytes would hang on the compressor's release;
    files' times are SOURCE_DATE_EPOCH's, or 1970.

    Args:
        contents: What is packed.
        target: The tar; one that is there is replaced when the new one is complete.

    Raises:
        BadBundleError: A part is for an instruction set that has no name there.
        OutputError: It cannot be written.
        UsageError: SOURCE_DATE_EPOCH is no time.
    """
    seconds = source_date_epoch()
    layers = [*_layers(contents, seconds or 0)]
    entries, parts = contents.manifest.parts, contents.parts
    device = {one.folder for one in entries.values() if one.site == DEVICE}
    both = len(device) < len(entries)
    own = [(at, blob) for at, blob in layers if at in device or not both]
    blobs: dict[str, _Blob] = {blob.sha256: blob for _, blob in layers}
    images: list[dict[str, Any]] = []
    for site, chosen in ((DEVICE, own), ("server", layers)):
        names = [name for name, one in entries.items() if (one.site == DEVICE) == (site == DEVICE)]
        if not names:
            continue
        config = _config(contents, parts[names[0]], chosen, seconds)
        noted = _annotations(contents, site, seconds)
        image = _json(_MANIFEST, {
            "schemaVersion": 2, "mediaType": _MANIFEST, "artifactType": _MODEL,
            "config": config.descriptor(),
            "layers": [blob.descriptor(annotations={_FILE_PATH: at or "."}) for at, blob in chosen],
            "annotations": noted,
        })  # fmt: skip
        blobs |= {config.sha256: config, image.sha256: image}
        images.append(image.descriptor(platform=_platform(parts, names), annotations=noted))
    index = _json(_INDEX, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": images})
    blobs[index.sha256] = index
    _write(target, blobs, index, seconds or 0)


def _write(target: Path, blobs: Mapping[str, _Blob], index: _Blob, seconds: int) -> None:
    """Write the layout: what it is, where one begins, the blobs by digest."""
    top = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [index.descriptor()]}
    files = [
        _named("oci-layout", _bytes({"imageLayoutVersion": "1.0.0"})),
        _named("index.json", _bytes(top)),
        *(TarFile(f"blobs/sha256/{digest}", blobs[digest].file.bytes, blobs[digest].file.write)
          for digest in sorted(blobs)),
    ]  # fmt: skip
    with replacing(target, sum(one.bytes for one in files)) as beside, beside.open("wb") as out:
        write_tar(out, files, seconds)


def _layers(contents: Contents, seconds: int) -> Iterator[tuple[str, _Blob]]:
    """The layers, each with the folder of the bundle that all of its files are in.

    A part's are its weights, code, licences and manifest, so that what two releases have in
    common is one blob in a registry; beside them golden vectors and what is about all of it.
    """
    folders = {one.folder for one in contents.manifest.parts.values()}
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in contents.entries:
        top = entry.name.partition("/")[0]
        folder = top if top in folders else ""
        groups.setdefault((folder, _kind(entry, folder)), []).append(entry)
    for (folder, kind), entries in sorted(groups.items()):
        entries.sort(key=lambda one: one.name)
        yield folder, _measured(kind, entries, seconds)


def _kind(entry: Entry, folder: str) -> str:
    """What a file is, as the specification has it."""
    path = PurePosixPath(entry.name)
    if entry.name.startswith("golden/"):
        return "code" if path.suffix != ".npy" else "dataset"
    if not folder:
        return "weight.config" if path.name == MANIFEST or path.suffix == ".sig" else "doc"
    if "LICENSES" in path.parts:
        return "doc"
    if path.name == MANIFEST:
        return "weight.config"
    return "code" if entry.runs or path.suffix == ".so" else "weight"


def _measured(kind: str, entries: Sequence[Entry], seconds: int) -> _Blob:
    """A layer, written once to know its digest."""
    files = [TarFile(one.name, one.bytes, _copier(one), one.runs) for one in entries]

    def write(out: Sink) -> None:
        write_tar(out, files, seconds)

    measure = Measure()
    write(measure)
    return _Blob(_LAYER.format(kind), measure.sha256, TarFile("", measure.bytes, write))


def _copier(entry: Entry) -> Callable[[Sink], None]:
    def copy(out: Sink) -> None:
        with entry.open() as data:
            shutil.copyfileobj(data, out, 2**20)

    return copy


def _config(
    contents: Contents, part: PartManifest, layers: Sequence[tuple[str, _Blob]],
    seconds: int | None,
) -> _Blob:  # fmt: skip
    """What the image is: the network's name, and what each layer unpacks to."""
    made = {} if seconds is None else {"createdAt": _time(seconds)}
    return _json(_CONFIG, {
        "descriptor": {
            **made, "name": contents.manifest.name, "version": contents.manifest.split[:12],
            "title": f"{contents.manifest.name}, compiled in parts by splitc",
        },
        "config": {"format": part.format, "architecture": part.target},
        "modelfs": {"type": "layers", "diff_ids": [f"sha256:{blob.sha256}" for _, blob in layers]},
    })  # fmt: skip


def _annotations(contents: Contents, site: str, seconds: int | None) -> dict[str, str]:
    made = {} if seconds is None else {"org.opencontainers.image.created": _time(seconds)}
    return {
        **made,
        "org.opencontainers.image.title": contents.manifest.name,
        "org.opencontainers.image.version": contents.manifest.split[:12],
        "org.splitc.bundle.digest": f"sha256:{contents.digest}",
        "org.splitc.site": site,
    }


def _platform(parts: Mapping[str, PartManifest], names: Sequence[str]) -> dict[str, str]:
    """The platform of a site's parts."""
    isas = {parts[name].isa for name in names}
    isa = min(isas)
    if len(isas) > 1 or isa not in _ARCHITECTURES:
        why = f"they are for {', '.join(sorted(isas))}"
        raise BadBundleError(f"parts {', '.join(names)} have no one platform", why=why)
    return {"os": "linux", "architecture": _ARCHITECTURES[isa]}


def _json(media: str, value: dict[str, Any]) -> _Blob:
    data = _bytes(value)
    measure = Measure()
    measure.write(data)
    return _Blob(media, measure.sha256, _named("", data))


def _named(name: str, data: bytes) -> TarFile:
    def write(out: Sink) -> None:
        out.write(data)

    return TarFile(name, len(data), write)


def _bytes(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)


def _time(seconds: int) -> str:
    return f"{date_of(seconds):%Y-%m-%dT%H:%M:%SZ}"
