# SPDX-License-Identifier: Apache-2.0
"""The manifests of a bundle and of its parts: strict, versioned, published as JSON schema."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import msgspec

from splitc.errors import BadBundleError, UsageError, nearest
from splitc.ir.chain import FLOATS, Code
from splitc.ir.graph import Tensor
from splitc.ir.layout import Layout, Layouts
from splitc.ir.proof import Proof
from splitc.link.packets import Scale
from splitc.runtime.codec_entry import CodecEntry, QuantizedEntry, Strict
from splitc.runtime.files import FileEntry
from splitc.runtime.manifest_checks import check_bundle_manifest, check_part_manifest

SCHEMA = 2
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
"""What `splitc sign` writes into a bundle's folder: it covers all that the manifest lists, and
the manifest, which therefore cannot list it."""
MAX_MANIFEST_BYTES = 16 * 2**20


class TensorSpec(Strict, frozen=True):
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


class Missing(Strict, frozen=True, omit_defaults=True):
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


class Expected(Strict, frozen=True, omit_defaults=True):
    """What a route is expected to take and to give: what a policy begins with.

    Milliseconds of all its parts on the device and on the server, and on the link that it was
    compiled for, as predicted; `agreement` is the share of samples whose largest result its
    codec leaves where it is.
    """

    head_ms: float
    tail_ms: float
    link_ms: float = 0.0
    agreement: float = 1.0


class Remote(Strict, frozen=True, omit_defaults=True):
    """What a part sends for, on one route: what it needs to know of the other side.

    `route` is the place of the route among the bundle's, `name` its name there; `crosses` what
    goes over the link, `results` what comes back, each in order and as it lies there; `missing`
    as in the route; `outputs` the network's results in its order, those that the device makes
    itself among them. `runs` are the device's parts on the route, in order, this one first, and
    left out where it is the only one: folders beside this one. `expected` is what the route
    is expected to take.
    """

    route: int
    name: str
    crosses: tuple[TensorSpec, ...]
    results: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    missing: tuple[Missing, ...] = ()
    runs: tuple[str, ...] = ()
    expected: Expected | None = None


class DeviceNeed(Strict, frozen=True):
    """The graphics processor that a part's code is for.

    `api` is whose driver runs it; `arch` what it is compiled for, as "sm_90", "" where the driver
    compiles it; `memory_bytes` what it takes of the device's memory: weights, tensors between
    kernels, inputs and results.
    """

    api: str
    arch: str
    memory_bytes: int


class PartManifest(Strict, frozen=True, omit_defaults=True):
    """What one part needs to run: the runner reads this file and nothing else.

    `activation_bytes` is the memory planned for tensors between its kernels, in addition to
    weights, inputs and outputs; 0 where the backend does not plan it. `weights` names the file of
    constants, which has `weight_bytes` and is mapped; `packed_bytes` is the memory for what is
    made of them once, when the part is loaded. `format` says what loads the part: "native" is
    compiled code, "onnx" a model for onnxruntime. `tuned` tells how each
    kernel computes that measurements decided on; it is left out where there is none.
    `fallbacks` is what each kernel computes that no rule fitted, and that is slow therefore.
    `features` are instructions that code may use beside those of `cpu`, as the compiler names
    them; left out where there are none. `device` is there where a graphics processor computes.
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
    tuned: dict[str, str] = {}  # noqa: RUF012 - msgspec makes a new one each time
    fallbacks: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    weights: str = ""
    weight_bytes: int = 0
    packed_bytes: int = 0
    remote: tuple[Remote, ...] = ()
    device: DeviceNeed | None = None


class Source(Strict, frozen=True, omit_defaults=True):
    """The model that was compiled: file name, sha256, its inputs and results.

    `counted` names results whose number of rows hangs on values, the boxes that a detector keeps,
    those together that have the same rows: parts give as many rows as there can be, and those
    behind that are -1 in all of them stand for nothing.
    `quantized` says what was made of it with `--precision int8`; everything else in the bundle
    is held against that.
    """

    name: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    counted: tuple[tuple[str, ...], ...] = ()
    quantized: QuantizedEntry | None = None


class PartEntry(Strict, frozen=True):
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


class Predicted(Strict, frozen=True):
    """What a route was predicted to take, in milliseconds; `figures` says where they are from."""

    figures: str
    site_ms: dict[str, float]
    link_ms: float


class Route(Strict, frozen=True):
    """One way through a bundle: which parts run where, and what crosses between them.

    `cut` is the head's last layers, the network's inputs where the server has all layers;
    `runs` the parts of each site, in their order, and of the device alone where it has all
    layers, which only the one route of a bundle may: then nothing crosses; `crosses`
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

    @property
    def before(self) -> tuple[str, ...]:
        """Names of the parts before the link, in order."""
        return next(iter(self.runs.values()))

    @property
    def behind(self) -> tuple[str, ...]:
        """Names of the parts behind the link, in order."""
        _, *others = self.runs.values()
        return tuple(name for names in others for name in names)

    def results(
        self, makes: Mapping[str, Iterable[TensorSpec]], outputs: Collection[str]
    ) -> tuple[TensorSpec, ...]:
        """The network's results that come back over the link, in the order they are made.

        What is made before the link does not, also where a decoder makes it again for those
        that read it.

        Args:
            makes: What each part makes, by its name.
            outputs: Names of the network's results.
        """
        made = {spec.name for name in self.before for spec in makes[name]}
        specs = (spec for name in self.behind for spec in makes[name])
        return tuple(spec for spec in specs if spec.name in outputs and spec.name not in made)


class Manifest(Strict, frozen=True):
    """What a bundle is: `manifest.json` in its folder.

    `default` names the route that runs where none is asked for; `results` says where results are
    wanted: back at the device, or at the server. `rounding` has by tensor what rounding alone may
    make of its relative error in each golden sample, where that is more than anybody minds.
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
    results: Literal["device", "server"] = "device"
    rounding: dict[str, tuple[float, ...]] | msgspec.UnsetType = msgspec.UNSET

    def rounding_of(self, tensor: str) -> tuple[float, ...]:
        """What rounding may make of each sample's relative error; empty where that is nothing."""
        return () if isinstance(self.rounding, msgspec.UnsetType) else self.rounding.get(tensor, ())

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the network's results that the device is to have, in the network's order."""
        return tuple(spec.name for spec in self.source.outputs) if self.results == "device" else ()

    @property
    def route(self) -> Route:
        """The route that runs where none is asked for."""
        return next(route for route in self.routes if route.name == self.default)

    def route_named(self, name: str) -> Route:
        """The route of that name.

        Raises:
            UsageError: There is none; the hint lists the nearest.
        """
        for route in self.routes:
            if route.name == name:
                return route
        hint = nearest(name, [route.name for route in self.routes])
        raise UsageError(f"there is no route '{name}'", hint=hint)

    def where(self, route: Route) -> str:
        """Where a route leaves the device, in words: all is on one side, or after which layers."""
        if not route.behind:
            return "all on the device"
        inputs = {spec.name for spec in self.source.inputs}
        cut = route.cut if route.codec is None else tuple(route.codec.cut.split(","))
        if inputs.issuperset(cut):
            return "all on the server"
        return f"cut after {','.join(route.cut)}"

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
    """Write a manifest in its one form."""
    (folder / MANIFEST).write_bytes(manifest_bytes(manifest))


def manifest_bytes(manifest: Manifest | PartManifest) -> bytes:
    """A manifest in one canonical form: schema first, two spaces, sorted files."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def without_files(manifest: Manifest, names: Collection[str]) -> Manifest:
    """The manifest of a bundle that some of the files are not in."""
    files = {name: entry for name, entry in manifest.files.items() if name not in names}
    return msgspec.structs.replace(manifest, files=files)


def read_manifest(folder: Path, kind: type[S]) -> S:
    """Read and check a manifest.

    Raises:
        BadBundleError: It is missing, malformed, or of another schema version.
    """
    path = folder / MANIFEST
    at = str(path)
    data = read_plain(path)
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
        check_part_manifest(manifest, at)
    else:
        check_bundle_manifest(manifest, at)
    return manifest


def holds_part(folder: Path) -> bool:
    """Whether a folder is that of a part, as its manifest has it, and not of a bundle.

    Raises:
        BadBundleError: It has no manifest, or that is malformed.
    """
    path = folder / MANIFEST
    try:
        return "part" in msgspec.json.decode(read_plain(path), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("manifest is malformed", at=str(path), why=str(error)) from error


def read_plain(path: Path, most: int = MAX_MANIFEST_BYTES, what: str = "manifest") -> bytes:
    """The bytes of a regular file: a link is not followed, a pipe not waited for.

    Args:
        path: The file.
        most: Bytes that it may have.
        what: What it is, for the error.

    Raises:
        BadBundleError: It is missing, no plain file, or too large.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadBundleError(f"{what} is no plain file", at=str(path))
            data = file.read(most + 1)
    except OSError as error:
        raise BadBundleError(f"no {what}", at=str(path), why=error.strerror or "") from error
    if len(data) > most:
        raise BadBundleError(f"{what} is too large", at=str(path))
    return data


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
