# SPDX-License-Identifier: Apache-2.0
"""The parts of a bundle: compiled, linked, described, and built for this machine to be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splitc.build.backend import Backend, Built
from splitc.build.onnx_backend import OnnxBackend
from splitc.bundle.verify import PARTS, twin_folder
from splitc.cost.board import Board, load_board, why_not_here
from splitc.errors import UsageError
from splitc.ir.layout import Layouts
from splitc.ir.model import Network
from splitc.runtime.integrity import part_files
from splitc.runtime.manifest import SCHEMA, PartManifest, TensorSpec, write_manifest
from splitc.version import __version__


@dataclass(frozen=True)
class Place:
    """One compilation of a part and where its code goes.

    Args:
        part: "head" or "tail".
        board: What it is compiled for.
        own: Whether it is the part's own board, not this machine in its place.
        folders: Where it is written, and whether with the runtime.
    """

    part: str
    board: Board
    own: bool
    folders: tuple[tuple[Path, bool], ...]


@dataclass(frozen=True)
class Parts:
    """What was built.

    Args:
        tools: Versions that shaped the bytes.
        caveats: What to know of the code.
    """

    tools: dict[str, str]
    caveats: tuple[str, ...]


def places_of(
    backend: Backend, boards: Mapping[str, Board], folder: Path, scratch: Path | None, runtime: bool
) -> list[Place]:
    """What has to be compiled: both parts, and a twin of each that this machine cannot run.

    Args:
        backend: What compiles.
        boards: Those of "head" and "tail".
        folder: The bundle's.
        scratch: Where parts that lack a runtime are built with one, to be checked; None to
            leave that out.
        runtime: Whether the bundle's parts have the runtime.
    """
    places: list[Place] = []
    for name, board in boards.items():
        own = ((folder / name, runtime),)
        why = why_not_here(board.isa, board.cpu, board.features)
        compiled = not isinstance(backend, OnnxBackend)
        if compiled and not why and not runtime and scratch:
            own = (*own, (scratch / name, True))
        places.append(Place(name, board, True, own))
        here = _twin_board(boards) if compiled and why else None
        if here is not None and (runtime or scratch):
            where = twin_folder(folder, name) if runtime or not scratch else scratch / name
            places.append(Place(name, here, False, ((where, True),)))
    return places


def unrunnable(backend: Backend, places: list[Place]) -> str:
    """Why this machine cannot check the parts, in words; "" where it can."""
    if isinstance(backend, OnnxBackend):
        return ""
    runs = {p.part for p in places if not why_not_here(p.board.isa, p.board.cpu, p.board.features)}
    missing = [name for name in PARTS if name not in runs]
    which = " and ".join(missing)
    return f"not checked: this machine runs no code for the {which}" if missing else ""


def _twin_board(boards: Mapping[str, Board]) -> Board | None:
    """The board that stands in for one that this machine does not run; None where none can."""
    for board in (boards["tail"], boards["head"]):
        if not why_not_here(board.isa, board.cpu, board.features):
            return board
    try:
        return load_board("host")
    except UsageError:
        return None


def build_parts(
    backend: Backend,
    places: list[Place],
    parts: Mapping[str, Network],
    lowered: Mapping[str, Mapping[bool, Any]],
    limit: int | None,
    split: str,
    layouts: Layouts,
    progress: Callable[[str], None],
    told: Callable[[str, Built], None],
) -> Parts:
    """Compile and link every part.

    Args:
        backend: What compiles.
        places: What for, and where to.
        parts: Head and tail.
        lowered: Each in the backend's form, as its own board takes it (True) and as others do.
        limit: Bytes that the head may take.
        split: The digest that the parts carry.
        layouts: How the tensors that cross lie.
        progress: Called with each step's name.
        told: Called with a part's name and what was built for its own board.
    """

    def written(code: Any, place: Place) -> Built:
        built: list[Built] = []
        for folder, runtime in place.folders:
            folder.mkdir(parents=True)
            built.append(backend.write(code, place.board, folder, runtime=runtime))
            _describe(built[-1], parts[place.part], place, folder, split, layouts)
        return built[0]

    tools = {"splitc": __version__, "numpy": np.__version__}
    caveats: dict[str, None] = {}
    # A linker is a process of its own: the next part is compiled beside it.
    writer = ThreadPoolExecutor(1, thread_name_prefix="link")
    try:
        linked: list[tuple[Place, Future[Built]]] = []
        for place in places:
            progress(f"compiling {place.part} for {place.board.name}")
            most = limit if place.part == "head" else None
            code = backend.compile(lowered[place.part][place.own], place.board, most)
            linked.append((place, writer.submit(written, code, place)))
            del code
        progress("linking")
        for place, done in linked:
            built = done.result()
            tools |= built.tools
            if place.own:
                told(place.part, built)
                caveats[f"{place.part}: {built.caveat}" if built.caveat else ""] = None
                caveats[_over_limit(place.part, built, limit)] = None
    finally:
        writer.shutdown(cancel_futures=True)
    return Parts(tools, tuple(text for text in caveats if text))


def _over_limit(name: str, built: Built, limit: int | None) -> str:
    """What to say of a head that takes more memory than it may; packing adds to its weights."""
    taken = built.weight_bytes + built.activation_bytes
    if name != "head" or limit is None or taken <= limit:
        return ""
    return f"head: its code takes {taken:,} bytes of weights and tensors, the limit is {limit:,}"


def _describe(
    built: Built, model: Network, place: Place, folder: Path, split: str, layouts: Layouts
) -> None:
    board = place.board
    part = PartManifest(
        schema=SCHEMA,
        part="head" if place.part == "head" else "tail",
        split=split,
        target=board.name,
        isa=board.isa,
        cpu=board.cpu,
        features=board.features,
        glibc=board.glibc,
        entry="main",
        model=built.model,
        libraries=built.libraries,
        runner=built.runner,
        schedule=built.schedule,
        activation_bytes=built.activation_bytes,
        tuned={kernel.name: kernel.tuned for kernel in built.kernels if kernel.tuned},
        inputs=tuple(TensorSpec.of(t, layouts) for t in model.graph.inputs),
        outputs=tuple(TensorSpec.of(t, layouts) for t in model.graph.output_tensors),
        files=part_files(folder),
    )
    write_manifest(folder, part)
