# SPDX-License-Identifier: Apache-2.0
"""The manifests of a bundle and of its parts: strict, versioned, published as JSON schema."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import msgspec

from splitc.errors import BadBundleError
from splitc.ir.chain import FLOATS, Code
from splitc.ir.graph import Tensor
from splitc.ir.layout import Layout, Layouts
from splitc.ir.proof import Proof
from splitc.link.packets import Scale

SCHEMA = 2
MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 16 * 2**20


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class FileEntry(_Strict, frozen=True):
    """A file's size in bytes and its sha256 in hexadecimal."""

    bytes: int
    sha256: str


class TensorSpec(_Strict, frozen=True):
    """A tensor of a contract: name, numpy dtype, shape, size in bytes, order of dimensions.

    `layout` is "" for the model's own order, or "channels-last" for a map that the model
    has as [N, C, H, W] and that crosses the link as [N, H, W, C]; `shape` is what crosses.
    A result of a part in ONNX may have extents that hang on the data: null, and 0 bytes.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    bytes: int
    layout: Layout = ""

    @staticmethod
    def of(tensor: Tensor, layouts: Layouts | None = None) -> TensorSpec:
        """The contract of a tensor with a known number of axes, as it lies at hand.

        Raises:
            BadModelError: Its number of axes depends on data.
        """
        shape = tensor.static_shape if tensor.shape is None else tensor.shape
        return TensorSpec(
            name=tensor.name, dtype=tensor.dtype, shape=shape, bytes=tensor.nbytes or 0,
            layout=(layouts or {}).get(tensor.name, ""),
        )  # fmt: skip

    def batched(self, frames: int) -> TensorSpec:
        """The same for several frames, one behind the other along the first axis."""
        if frames == 1:
            return self
        first, *rest = self.shape
        many = None if first is None else first * frames
        return msgspec.structs.replace(self, shape=(many, *rest), bytes=self.bytes * frames)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of that shape keeps the contract."""
        return len(shape) == len(self.shape) and all(
            wanted in (None, extent) for wanted, extent in zip(self.shape, shape, strict=True)
        )


class Missing(_Strict, frozen=True, omit_defaults=True):
    """What a receiver puts in the place of elements that did not arrive.

    `fill` is bytes in hexadecimal, repeated over the flattened tensor as it lies on the link;
    "" for zeros. `scale` is what the elements that came are multiplied by: 1/(1 - p) with the
    loss rate p of the link ("rate"), the inverse of the share of the elements that came
    ("realised"), or nothing ("none"), which is all that can be done with integers. `unit` is how
    many elements travel together and are lost together: those that packed levels share.
    """

    fill: str = ""
    scale: Scale = "realised"
    unit: int = 1

    @staticmethod
    def of(spec: TensorSpec, code: Code | None = None, scale: Scale | None = None) -> Missing:
        """What stands for missing elements of a tensor.

        Args:
            spec: The tensor, as it crosses.
            code: What is known of it where it is a code.
            scale: As the network was trained; by default the share that came. Integers
                are not scaled whatever it says: a code is no number.
        """
        floats = spec.dtype in FLOATS
        fill, unit = code or Code()
        kept = (scale or "realised") if floats else "none"
        return Missing(fill=fill.hex(), scale=kept, unit=unit)

    @property
    def pattern(self) -> bytes:
        """The bytes to repeat; one zero where nothing else is said."""
        return bytes.fromhex(self.fill) or bytes(1)


class Remote(_Strict, frozen=True):
    """What a part sends for, on one route: what it needs to know of the other side.

    `route` is the place of the route among the bundle's, `name` its name there; `crosses` what
    goes over the link, `results` what comes back, each in order and as it lies there; `missing`
    as in the route; `outputs` the network's results in its order, those that the part makes
    itself among them.
    """

    route: int
    name: str
    crosses: tuple[TensorSpec, ...]
    results: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    missing: tuple[Missing, ...] = ()


class PartManifest(_Strict, frozen=True, omit_defaults=True):
    """What one part needs to run: the runner reads this file and nothing else.

    `activation_bytes` is the memory planned for tensors between its kernels, in addition to
    weights, inputs and outputs; 0 where the backend does not plan it. `weights` names the file of
    constants, which has `weight_bytes` and is mapped; `packed_bytes` is the memory for what is
    made of them once, when the part is loaded. `format` says what loads the part: "native" is
    compiled code, "onnx" a model for onnxruntime. `tuned` tells how each
    kernel computes that measurements decided on; it is left out where there is none.
    `features` are instructions that code may use beside those of `cpu`, as the compiler names
    them; left out where there are none.
    """

    schema: int
    part: str
    split: str
    target: str
    isa: str
    cpu: str
    glibc: str
    entry: str
    model: str
    libraries: tuple[str, ...]
    runner: str
    schedule: str
    activation_bytes: int
    format: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: dict[str, FileEntry]
    tuned: dict[str, str] = {}
    features: tuple[str, ...] = ()
    weights: str = ""
    weight_bytes: int = 0
    packed_bytes: int = 0
    remote: tuple[Remote, ...] = ()


class ChannelEntry(_Strict, frozen=True):
    """A channel that the network was trained over and that the code leaves out.

    `settings` is what it was set to, as `rate=0.1`.
    """

    op: str
    settings: str


class Cost(_Strict, frozen=True):
    """One result of a network with a codec against the given network's, over some samples.

    `relative_error` is the root mean square of the difference over that of the given result;
    `argmax_same` how many of `argmax_of` arg-max are the same, which is 0 where there are none.
    """

    result: str
    relative_error: float
    argmax_same: int
    argmax_of: int


class CodecCost(_Strict, frozen=True):
    """What the codec costs: the compiled network against the given one, by their references.

    `on` says whose samples they were: a user's, or the golden ones. The accuracies, of the
    compiled network and of the given one, are there where the samples had labels.
    """

    samples: int
    on: Literal["calibration", "golden"]
    results: tuple[Cost, ...]
    accuracy: float | None = None
    given_accuracy: float | None = None


class CodecEntry(_Strict, frozen=True, omit_defaults=True):
    """The codec that is inside: encoder in the head, decoder in the tail.

    `pipeline` is the passes that put it in, empty where the model does not say; `cut` the
    layers that it stands behind, as the cut table names them. Where `received` is true,
    `golden/received` holds what the tail gets with the channels on, drawn with the manifest's
    seed, and `golden/received_outputs` the tail's results on that. `cost` is left out where
    the network was given with its codec.
    """

    pipeline: str
    cut: str
    channels: tuple[ChannelEntry, ...]
    received: bool
    cost: CodecCost | None = None


class Source(_Strict, frozen=True):
    """The model that was compiled: file name, sha256, its inputs and results."""

    name: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class PartEntry(_Strict, frozen=True):
    """One part of a bundle: a segment of the network, compiled for a site.

    `layers` is how many it holds; `folder` lies in the bundle's; `format` says what loads it,
    as in its own manifest. `batch` is how many frames one call of it takes, along the first
    axis of each tensor; parts of one segment and site differ in it.
    """

    segment: str
    site: str
    target: str
    folder: str
    format: str
    layers: int
    batch: int = 1


class Predicted(_Strict, frozen=True):
    """What a route was predicted to take, in milliseconds; `figures` says where they are from."""

    figures: str
    site_ms: dict[str, float]
    link_ms: float


class Route(_Strict, frozen=True):
    """One way through a bundle: which parts run where, and what crosses between them.

    `cut` is the head's last layers; `runs` the parts of each site, in their order; `crosses`
    what goes over the link, as it lies there, and `boundary_bytes` its size; `proof` why the
    cut is the best for what was asked; `codec` what is inside around what crosses; `missing`
    what stands for elements that did not arrive, one entry for each tensor that crosses.
    """

    name: str
    cut: tuple[str, ...]
    runs: dict[str, tuple[str, ...]]
    crosses: tuple[TensorSpec, ...]
    boundary_bytes: int
    predicted: Predicted
    proof: Proof
    codec: CodecEntry | None
    missing: tuple[Missing, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in the order in which they run."""
        return tuple(name for names in self.runs.values() for name in names)


class Manifest(_Strict, frozen=True):
    """What a bundle is: `manifest.json` in its folder.

    `default` names the route that runs where none is asked for.
    """

    schema: int
    name: str
    split: str
    source: Source
    parts: dict[str, PartEntry]
    routes: tuple[Route, ...]
    default: str
    config: dict[str, str]
    seed: int
    tolerance: float
    tools: dict[str, str]
    files: dict[str, FileEntry]

    @property
    def route(self) -> Route:
        """The route that runs where none is asked for."""
        return next(route for route in self.routes if route.name == self.default)

    def batched(self, name: str) -> dict[int, str]:
        """The parts that do the same as one, by how many frames each takes; it is among them."""
        part = self.parts[name]
        return {
            other.batch: each
            for each, other in sorted(self.parts.items(), key=lambda item: item[1].batch)
            if (other.segment, other.site) == (part.segment, part.site)
        }


S = TypeVar("S", Manifest, PartManifest)


def write_manifest(folder: Path, manifest: Manifest | PartManifest) -> None:
    """Write a manifest in one canonical form: schema first, two spaces, sorted files."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST).write_bytes(data + b"\n")


def read_manifest(folder: Path, kind: type[S]) -> S:
    """Read and check a manifest.

    Raises:
        BadBundleError: It is missing, malformed, or of another schema version.
    """
    path = folder / MANIFEST
    at = str(path)
    data = _read_plain(path)
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("schema")
        if version != SCHEMA:
            raise BadBundleError(
                "bundle of another schema",
                at=at,
                why=f"its schema is {version}, this splitc reads {SCHEMA}",
                hint="compile it again, or install the splitc that wrote it",
            )
        manifest = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("manifest is malformed", at=at, why=str(error)) from error
    if isinstance(manifest, PartManifest):
        _check_names(manifest, at)
    else:
        _check_routes(manifest, at)
        _check_missing(manifest, at)
    return manifest


def holds_part(folder: Path) -> bool:
    """Whether a folder is that of a part, as its manifest has it, and not of a bundle.

    Raises:
        BadBundleError: It has no manifest, or that is malformed.
    """
    path = folder / MANIFEST
    try:
        return "part" in msgspec.json.decode(_read_plain(path), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("manifest is malformed", at=str(path), why=str(error)) from error


def _read_plain(path: Path) -> bytes:
    """The bytes of a regular file: a link is not followed, a pipe not waited for."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadBundleError("manifest is no plain file", at=str(path))
            data = file.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BadBundleError("no manifest", at=str(path), why=error.strerror or "") from error
    if len(data) > _MAX_MANIFEST_BYTES:
        raise BadBundleError("manifest is too large", at=str(path))
    return data


def _check_names(part: PartManifest, at: str) -> None:
    """What a part loads and runs is a listed file in its own folder, what it sends for a route."""
    for remote in part.remote:
        if not 0 <= remote.route < 2**16:
            why = f"routes have numbers of 16 bits, not {remote.route}"
            raise BadBundleError(f"the part sends for '{remote.name}'", at=at, why=why)
    optional = [name for name in (part.runner, part.weights) if name]
    for name in (part.model, *part.libraries, *optional):
        if "/" in name or name.startswith(".") or name not in part.files:
            why = "it is no file of the part"
            raise BadBundleError(f"the part names '{name}'", at=at, why=why)


def _check_routes(manifest: Manifest, at: str) -> None:
    """The default is a route, routes run parts that there are, and those lie in the bundle."""
    names = [route.name for route in manifest.routes]
    if manifest.default not in names or len({*names}) < len(names):
        why = "it names no route, or there are two of one name"
        raise BadBundleError(f"there is no one route '{manifest.default}'", at=at, why=why)
    for name in (name for route in manifest.routes for name in route.parts):
        if name not in manifest.parts:
            raise BadBundleError(f"a route runs '{name}'", at=at, why="there is no such part")
        if manifest.parts[name].batch != 1:
            why = f"it takes {manifest.parts[name].batch} frames a call"
            raise BadBundleError(f"a route runs '{name}'", at=at, why=why)
    for name, part in manifest.parts.items():
        if part.batch < 1:
            raise BadBundleError(f"part '{name}' takes {part.batch} frames a call", at=at)
        if "/" in part.folder or part.folder.startswith(".") or part.folder in ("", "golden"):
            why = f"its folder is '{part.folder}', which is none of a part"
            raise BadBundleError(f"part '{name}' is not in the bundle", at=at, why=why)


def _check_missing(manifest: Manifest, at: str) -> None:
    """What stands for missing elements is said of each tensor that crosses, or of none."""
    for route in manifest.routes:
        what = f"route '{route.name}' does not say what stands for what is missing"
        if len(route.missing) not in (0, len(route.crosses)):
            why = f"{len(route.crosses)} tensors cross, it tells of {len(route.missing)}"
            raise BadBundleError(what, at=at, why=why)
        for spec, one in zip(route.crosses, route.missing, strict=False):
            try:
                size = len(one.pattern)
            except ValueError as error:
                why = f"the fill of '{spec.name}' is not in hexadecimal"
                raise BadBundleError(what, at=at, why=why) from error
            if size > max(1, spec.bytes):
                why = f"the fill of '{spec.name}' is longer than the tensor"
                raise BadBundleError(what, at=at, why=why)


def file_entry(path: Path) -> FileEntry:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(bytes=path.stat().st_size, sha256=digest)


def list_files(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, FileEntry]:
    """Every file below a folder by its relative path, sorted.

    Raises:
        BadBundleError: Something in it is neither file nor folder.
    """
    found: dict[str, FileEntry] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BadBundleError("a bundle holds plain files only", at=str(path))
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in but:
            found[name] = file_entry(path)
    return found


def json_schema() -> dict[str, Any]:
    """JSON schema of both manifests, as published in `splitc/manifest.schema.json`."""
    (bundle, part), components = msgspec.json.schema_components(
        [Manifest, PartManifest], ref_template="#/$defs/{name}"
    )
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"splitc manifests, schema {SCHEMA}",
        "anyOf": [bundle, part],
        "$defs": components,
    }
    return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(schema)))
