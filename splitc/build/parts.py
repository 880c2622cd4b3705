# SPDX-License-Identifier: Apache-2.0
"""The parts of a bundle: compiled, linked, described, and built for this machine to be checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from splitc.build.backend import Built, Preparing, Shipped
from splitc.build.kernel_times import described
from splitc.build.part_job import PartJob
from splitc.build.reuse import Key, Reuse, part_key
from splitc.bundle.runnable import twin_folder
from splitc.cost.board import Board, Gpu, load_board
from splitc.cost.precision import in_float32
from splitc.cost.topology import DEVICE
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.model import Network
from splitc.runtime.devices import why_not_run_for
from splitc.runtime.integrity import part_files
from splitc.runtime.manifest import (
    SCHEMA,
    DeviceNeed,
    PartManifest,
    Remote,
    TensorSpec,
    write_manifest,
)
from splitc.version import __version__

NO_SPLIT = "0" * 64
"""Of a part that is none of a bundle's."""


@dataclass(frozen=True)
class Place:
    """One compilation of a part and where its code goes.

    Args:
        part: The part.
        board: What it is compiled for.
        own: Whether it is the part's own board, not this machine in its place.
        folders: Where it is written, and whether with the runtime.
    """

    part: PartJob
    board: Board
    own: bool
    folders: tuple[tuple[Path, bool], ...]


@dataclass(frozen=True)
class Parts:
    """What was built.

    Args:
        split: The digest that the parts carry.
        formats: What loads each part, by its name.
        tools: Versions that shaped the bytes.
        caveats: What to know of the code.
        shipped: Whose software is in each part, by its name.
    """

    split: str
    formats: dict[str, str]
    tools: dict[str, str]
    caveats: tuple[str, ...]
    shipped: dict[str, tuple[Shipped, ...]]

    def and_(self, more: Parts) -> Parts:
        """These parts and more of the same split."""
        return Parts(
            self.split, self.formats | more.formats, self.tools | more.tools,
            tuple(dict.fromkeys((*self.caveats, *more.caveats))), self.shipped | more.shipped,
        )  # fmt: skip


def places_of(
    parts: Sequence[PartJob], folder: Path, scratch: Path | None, runtime: bool,
    route: Sequence[PartJob] = (), *, twins: bool = True,
) -> list[Place]:  # fmt: skip
    """What has to be compiled: every part, and a twin of each that this machine cannot run.

    Args:
        parts: What the bundle has.
        folder: The bundle's.
        scratch: Where what is only to be checked is built, parts that lack a runtime and twins
            that the bundle is not to have; None to leave that out.
        runtime: Whether the bundle's parts have the runtime.
        route: The parts whose boards may stand in for one that does not run here; by default
            these.
        twins: Whether the bundle has the twins.
    """
    keeps = twins and runtime
    places: list[Place] = []
    for part in parts:
        own = ((folder / part.name, runtime),)
        foreign = part.backend.compiles and not _runs_here(part.board)
        if part.backend.compiles and not foreign and not runtime and scratch:
            own = (*own, (scratch / part.name, True))
        places.append(Place(part, part.board, True, own))
        here = _twin_board(part, route or parts) if foreign else None
        where = twin_folder(folder, part.name) if keeps else scratch and scratch / part.name
        if here is not None and where is not None:
            places.append(Place(part, here, False, ((where, True),)))
    return places


def _runs_here(board: Board) -> bool:
    """Whether this machine runs a board's code."""
    return not why_not_run_for(board)


def unrunnable(parts: Sequence[PartJob], places: list[Place]) -> str:
    """Why this machine cannot check the parts, in words; "" where it can."""
    runs = {p.part.name for p in places if not p.part.backend.compiles or _runs_here(p.board)}
    missing = [part.name for part in parts if part.name not in runs]
    which = " and ".join(missing)
    return f"not checked: this machine runs no code for the {which}" if missing else ""


def _twin_board(part: PartJob, parts: Sequence[PartJob]) -> Board | None:
    """The board that stands in for one that this machine does not run; None where none can."""
    for other in reversed(parts):
        quick = not isinstance(other.board.unit, Gpu)
        if quick and part.backend.refuses(other.board) is None and _runs_here(other.board):
            return in_float32(other.board)
    try:
        host = load_board("host")
    except UsageError:
        return None
    return host if part.backend.refuses(host) is None else None


def build_parts(
    places: list[Place],
    models: Mapping[str, Network],
    lowered: Mapping[str, Mapping[bool, Any]],
    limit: int | None,
    split: str,
    remote: Mapping[str, tuple[Remote, ...]],
    progress: Callable[[str], None],
    told: Callable[[str, Built], None],
    reuse: Reuse | None = None,
) -> Parts:
    """Compile and link every part.

    Args:
        places: What, what for, and where to.
        models: The parts' networks for one frame, by the names of the parts for one.
        lowered: Each in the backend's form, as its own board takes it (True) and as others do.
        limit: Bytes that a part on the device may take.
        split: The digest that the parts carry.
        remote: What parts that send know of the other side, by their names.
        progress: Called with each step's name.
        told: Called with a part's name and what was built for its own board.
        reuse: Parts that were compiled before; None to compile all.
    """

    def built_at(place: Place) -> Built:
        name, backend = place.part.name, place.part.backend
        most = _most(place, limit)
        code: Any = None
        built: list[Built] = []
        keys = place_keys(place, models, limit) if reuse else []
        for k, (folder, runtime) in enumerate(place.folders):
            folder.mkdir(parents=True)
            taken = reuse.take(keys[k], folder) if reuse else None
            if taken is None:
                if code is None:
                    code = backend.compile(lowered[name][place.own], place.board, most)
                taken = backend.write(code, place.board, folder, runtime=runtime)
                if reuse:
                    reuse.keep(keys[k], folder, taken)
            kernels = described(taken.kernels, place.part)
            built.append(replace(taken, kernels=kernels))
            graph, specs = models[place.part.alone].graph, place.part.specs
            describe_part(
                built[-1], graph, place.board, folder, name, split, specs, remote.get(name, ())
            )  # fmt: skip
        return built[0]

    tools = {"splitc": __version__, "numpy": np.__version__}
    caveats: dict[str, None] = {}
    formats: dict[str, str] = {}
    shipped: dict[str, tuple[Shipped, ...]] = {}
    # Code generators and linkers run without Python's lock. Two parts at a time and no more, as
    # each holds its weights once.
    workers = ThreadPoolExecutor(min(2, os.cpu_count() or 1), thread_name_prefix="compile")
    # Asked before it is begun: a user waits half a minute for it, and only once.
    first = [_first(place) for place in places]
    try:
        begun: list[tuple[Place, Future[Built]]] = [
            (place, workers.submit(built_at, place)) for place in places
        ]
        for (place, done), once in zip(begun, first, strict=True):
            progress(f"compiling {place.part.name} for {place.board.name}{once}")
            built = done.result()
            tools |= built.tools
            if place.own:
                told(place.part.name, built)
                formats[place.part.name] = built.format
                shipped[place.part.name] = built.shipped
                caveats[f"{place.part.name}: {built.caveat}" if built.caveat else ""] = None
                caveats[_over_limit(place.part, built, limit)] = None
    finally:
        workers.shutdown(cancel_futures=True)
    return Parts(split, formats, tools, tuple(text for text in caveats if text), shipped)


def _most(place: Place, limit: int | None) -> int | None:
    return limit if place.part.site == DEVICE else None


def place_keys(place: Place, models: Mapping[str, Network], limit: int | None) -> list[Key]:
    """What a part's code hangs on, for each folder that it goes to."""
    part, network = place.part, models[place.part.alone]
    most = _most(place, limit)
    return [
        part_key(part, network, place.board, most, runtime=runtime) for _, runtime in place.folders
    ]


def reused(
    places: list[Place], models: Mapping[str, Network], limit: int | None, reuse: Reuse | None
) -> set[str]:
    """The parts that were all compiled before, wherever they go."""
    if reuse is None:
        return set()
    keys: dict[str, list[Key]] = {}
    for place in places:
        keys.setdefault(place.part.name, []).extend(place_keys(place, models, limit))
    return {name for name, each in keys.items() if reuse.has(each)}


def _first(place: Place) -> str:
    """What a backend makes the first time, in brackets."""
    backend = place.part.backend
    once = backend.once(place.board) if isinstance(backend, Preparing) else ""
    return f" ({once})" if once else ""


def _over_limit(part: PartJob, built: Built, limit: int | None) -> str:
    """What to say of a part that takes more memory than it may; packing adds to its weights."""
    taken = built.weight_bytes + built.activation_bytes
    if part.site != DEVICE or limit is None or taken <= limit:
        return ""
    return (
        f"{part.name}: its code takes {taken:,} bytes of weights and tensors, "
        f"the limit is {limit:,}"
    )


def _as_it_is(tensors: Iterable[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(map(TensorSpec.of, tensors))


def describe_part(
    built: Built, graph: LayerGraph, board: Board, folder: Path,
    name: str = "head", split: str = NO_SPLIT,
    specs: Callable[[Iterable[Tensor]], tuple[TensorSpec, ...]] = _as_it_is,
    remote: tuple[Remote, ...] = (), more: tuple[TensorSpec, ...] = (),
) -> None:  # fmt: skip
    """Write the manifest of a part, over what else lies in its folder.

    Args:
        built: What was written there.
        graph: Its layers, for one frame.
        board: What it was compiled for.
        folder: The part's.
        name: What it is called in its bundle.
        split: The digest of the split that it belongs to.
        specs: The contract of tensors that it takes or makes.
        remote: What it sends for, where it sends.
        more: What it gives behind the network's tensors.
    """
    unit = board.unit
    device = None
    if isinstance(unit, Gpu) and built.format == "native":
        device = DeviceNeed(
            api=unit.api,
            arch=unit.arch if unit.api == "cuda" else "",
            memory_bytes=built.device_bytes,
        )
    part = PartManifest(
        schema=SCHEMA,
        part=name,
        split=split,
        target=board.name,
        isa=board.processor.isa,
        cpu=board.processor.cpu,
        features=tuple(each for each in board.processor.features if each not in built.unused),
        glibc=board.processor.glibc,
        entry="main",
        format=built.format,
        model=built.model,
        libraries=built.libraries,
        runner=built.runner,
        schedule=built.schedule,
        activation_bytes=built.activation_bytes,
        weights=built.weights,
        weight_bytes=built.file_bytes,
        packed_bytes=built.packed_bytes,
        tuned={kernel.name: kernel.tuned for kernel in built.kernels if kernel.tuned},
        fallbacks=tuple(kernel.op for kernel in built.kernels if kernel.fell_back),
        inputs=specs(graph.inputs),
        outputs=(*specs(graph.output_tensors), *more),
        files=part_files(folder),
        remote=remote,
        device=device,
    )
    write_manifest(folder, part)
