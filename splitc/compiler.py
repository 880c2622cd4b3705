# SPDX-License-Identifier: Apache-2.0
"""The main job: choose a cut, split, compile both parts, write the bundle."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from splitc import __version__
from splitc.backend import Backend, Built, OnnxBackend, Tuner, Tuning
from splitc.board import Board, load_board
from splitc.bundle import SUFFIX, Bundle
from splitc.codec import Ready, Trainable, prepare
from splitc.cost import Objective
from splitc.cut import Cut
from splitc.errors import IllegalCutError, OutputError, UsageError
from splitc.frontend import load
from splitc.frontend.onnx_layout import maps_of
from splitc.golden import Array, tolerance_of, write_golden
from splitc.link import Link
from splitc.manifest import (
    SCHEMA,
    ChannelEntry,
    CodecEntry,
    CutEntry,
    Manifest,
    PartManifest,
    Source,
    TensorSpec,
    list_files,
    write_manifest,
)
from splitc.model import Network
from splitc.passes import Pass, Pipeline
from splitc.place import beside, move_into_place
from splitc.plugins import find
from splitc.refuse import refuse_contract, refuse_unsupported
from splitc.report import write_report
from splitc.runtime.part import part_files
from splitc.search import Constraints, CutRow, CutTable, find_cuts

Emit = Literal["tvm", "onnx"]
Runtime = Literal["bundle", "none"]


@dataclass(frozen=True)
class Job:
    """A compilation, decided but not begun: which model, cut and boards.

    Args:
        source: The network as it was read.
        ready: What is split: the network with the codec inside, without channels.
        name: The bundle's name.
        table: The cut table.
        row: The chosen row.
        head: Board of the device.
        tail: Board of the server.
    """

    source: Network
    ready: Ready
    name: str
    table: CutTable
    row: CutRow
    head: Board
    tail: Board

    @property
    def model(self) -> Network:
        """The network that is split."""
        return self.ready.model

    @property
    def cut(self) -> Cut:
        """Where it is split: at the codec's boundary, if there is one."""
        return self.ready.cut


def choose(table: CutTable, cut: str) -> CutRow:
    """The row of a cut: `auto`, or layer names with commas between.

    `auto` is the cut that the model has already, or else the best in the table.

    Raises:
        UsageError: An unknown layer; the hint lists the nearest.
        IllegalCutError: Nothing would be left for one side, or a tensor that
            crosses has no fixed size.
        NoLegalCutError: `auto`, and no cut keeps the constraints.
    """
    if cut == "auto":
        return table.auto
    row = table.row(Cut.named(table.costs.graph, cut))
    if row.rejected is not None:
        raise IllegalCutError(
            f"cannot cut after '{cut}'",
            why=row.rejected,
            hint="`splitc cuts MODEL` lists the cuts there are"
            + (" with this codec" if table.codec else ""),
        )
    return row


def backend_of(emit: str) -> Backend:
    """What writes the parts: ONNX files, or the backend of that name."""
    return OnnxBackend() if emit == "onnx" else find("backends", emit)()


def plan(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    head: str | Board = "rpi4",
    tail: str | Board = "host",
    link: Link | str = "wifi",
    objective: Objective = "latency",
    constraints: Constraints | None = None,
    name: str | None = None,
    emit: Emit = "tvm",
    codec: Pass | Pipeline | str | None = None,
    batches: Sequence[Mapping[str, Array]] = (),
) -> Job:
    """Load the model if need be, search the cuts, choose one and put the codec there.

    Whatever `emit` names compiles either part, so a layer that it cannot compile is refused
    before any cut is priced.

    Raises:
        UnsupportedOpError: A layer cannot be compiled, whatever the cut.
        SplitcError: See `splitc.load`, `splitc.find_cuts`, `choose` and `splitc.codec.prepare`.
    """
    loaded: Network = load(model) if isinstance(model, str | Path) else model
    if name is None:
        name = Path(model).stem if isinstance(model, str | Path) else loaded.name
    # A graph's name comes out of the file, and becomes a folder's.
    name = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "model"
    device, server = load_board(head), load_board(tail)
    path = link if isinstance(link, Link) else Link.named(link)
    refuse_unsupported(backend_of(emit), loaded, "network")
    table = find_cuts(
        loaded, head=device, tail=server, link=path, objective=objective, constraints=constraints,
        codec=codec,
    )  # fmt: skip
    row = choose(table, cut)
    ready = prepare(loaded, row.cut, table.codec, batches)
    return Job(loaded, ready, name, table, row, device, server)


def compile(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    head: str | Board = "rpi4",
    tail: str | Board = "host",
    link: Link | str = "wifi",
    objective: Objective = "latency",
    constraints: Constraints | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    emit: Emit = "tvm",
    runtime: Runtime = "bundle",
    seed: int = 0,
    tuning: Tuning | None = None,
    codec: Pass | Pipeline | str | None = None,
    batches: Sequence[Mapping[str, Array]] = (),
) -> Bundle:
    """Compile a network into a head for the device and a tail for the server.

    Args:
        model: A loaded model, or the path of an ONNX or `.pt2` file or of a fine-tuned folder.
        cut: `auto`, or the head's last layers with commas between. `auto` is the cut that a
            pass or fine-tuning gave the model, or else the best one.
        head: Board of the device.
        tail: Board of the server.
        link: What lies between: a `Link` or the name of one.
        objective: What `auto` minimises.
        constraints: Limits that `auto` keeps.
        output: Folder to write; by default `NAME.splitc` here.
        name: The bundle's name; by default the file's.
        emit: `tvm` for compiled code, `onnx` for two ONNX files.
        runtime: `none` leaves TVM's runtime libraries and the runner out.
        seed: Of the golden inputs, and of what a channel draws for the golden vectors.
        tuning: Measure other kernels than the analytic choice, and use what is quicker.
        codec: Passes to put at the cut, or their text; `auto` is the best cut with them there.
            A learned codec that was not trained is compiled as it is.
        batches: Values to calibrate the codec with: arrays by input name.

    Returns:
        The bundle, written and complete.

    Raises:
        SplitcError: Bad model, unsupported op, no legal cut, toolchain failure,
            output folder that cannot be written.

    References:
        The cut: Hu et al., INFOCOM 2019, corrected; see `splitc_passes.min_cut`.
    """
    job = plan(model, cut=cut, head=head, tail=tail, link=link, objective=objective, emit=emit,
               constraints=constraints, name=name, codec=codec, batches=batches)  # fmt: skip
    return build(job, output=output, emit=emit, runtime=runtime, seed=seed, tuning=tuning)


def build(
    job: Job,
    *,
    output: str | Path | None = None,
    emit: Emit = "tvm",
    runtime: Runtime = "bundle",
    seed: int = 0,
    tuning: Tuning | None = None,
    progress: Callable[[str], None] = lambda step: None,
    note: Callable[[str], None] = lambda text: None,
    told: Callable[[str, Built], None] = lambda part, built: None,
) -> Bundle:
    """Split, compile both parts and write the bundle of a planned job.

    Args:
        job: What `plan` decided.
        output: Folder to write; by default `NAME.splitc` here.
        emit: `tvm` or `onnx`.
        runtime: `bundle` or `none`.
        seed: Of the golden inputs.
        tuning: Whether and how long to measure kernels; None for the analytic choice.
        progress: Called with each step's name as it begins.
        note: Called with what a user should know of the code that was made.
        told: Called with "head" or "tail" and what was built for it.

    Raises:
        SplitcError: See `compile`. Nothing is left half-written.
    """
    target = Path(output) if output is not None else Path(job.name + SUFFIX)
    backend = backend_of(emit)
    progress("splitting")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative")
    maps = maps_of(job.cut) if backend.channels_last else ()
    head, tail = job.model.split(job.cut, maps)
    parts = {"head": head, "tail": tail}
    if emit != "onnx":
        for part in parts.values():
            refuse_contract(part)
    for name, part in parts.items():
        refuse_unsupported(backend, part, name)
    if tuning is not None:
        _refuse_tuning(backend, job, tuning, emit)
    lowered = {name: backend.lower(part) for name, part in parts.items()}
    ready = {**lowered, "golden/head": lowered["head"]}
    if isinstance(backend, Tuner) and tuning is not None:
        ready |= _tune(backend, job, tuning, parts, lowered, progress)
    folder = beside(target)
    try:
        progress("golden vectors")
        received = write_golden(folder / "golden", job.ready, head, tail, maps, seed)
        split = _split_digest(job, parts, emit, runtime)
        tools, caveats = _build_parts(
            backend, job, parts, ready, folder, split, runtime, progress, told, maps
        )
        progress("writing the bundle")
        boundary = _boundary(job, head, maps)
        _write_bundle(folder, job, split, tools, emit, runtime, seed, boundary, received)
        progress("moving it into place")
        move_into_place(folder, target)
    except OSError as error:
        raise OutputError(
            f"cannot write '{target}'", why=error.strerror or str(error), hint="choose another -o"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for caveat in (*job.ready.notes, *_unverified(job, received), *caveats):
        note(caveat)
    return Bundle.open(target)


def _refuse_tuning(backend: Backend, job: Job, tuning: Tuning, emit: str) -> None:
    """Raise where a part cannot be tuned."""
    if not isinstance(backend, Tuner):
        raise UsageError(f"--emit {emit} has no kernels to tune", hint="leave --tune out")
    if not 0 <= tuning.seconds < 1e7:
        raise UsageError(f"cannot tune for {tuning.seconds:g} seconds")
    if not tuning.parts or not set(tuning.parts) <= {"head", "tail"}:
        raise UsageError(f"no parts '{','.join(tuning.parts)}'", hint="head, tail or head,tail")
    if tuning.rpc and "head" not in tuning.parts:
        raise UsageError("--tune-rpc measures the head's kernels, and the head is not tuned")
    for name in tuning.parts:
        board = job.head if name == "head" else job.tail
        backend.refuse_tuning(board, tuning.rpc if name == "head" else "")


def _tune(
    backend: Tuner, job: Job, tuning: Tuning, parts: Mapping[str, Network],
    lowered: Mapping[str, Any], progress: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """The parts with what was measured for them.

    Each gets a share of the time by its arithmetic, and leaves the next what it did not need.
    """
    end = time.monotonic() + tuning.seconds
    tuned: dict[str, Any] = {}
    work = {name: 1 + sum(each.flops for each in parts[name].graph.layers) for name in parts}
    for name in dict.fromkeys(tuning.parts):
        board = job.head if name == "head" else job.tail
        share = work[name] / sum(work[n] for n in tuning.parts if n not in tuned)
        seconds = share * max(0.0, end - time.monotonic())
        tuned[name] = backend.tune(
            lowered[name], board, seconds, tuning.rpc if name == "head" else "",
            lambda step, name=name: progress(f"tuning {name}: {step}"),
        )  # fmt: skip
    return tuned


def _split_digest(job: Job, parts: Mapping[str, Network], emit: Emit, runtime: Runtime) -> str:
    """Changes when the source model, what is in either part, a board or the configuration does."""
    digest = hashlib.sha256(job.model.digest.encode())
    digest.update(json.dumps(_config(job, emit, runtime), sort_keys=True).encode())
    for part in parts.values():
        digest.update(str(part.graph).encode())
    for board in (job.head, job.tail):
        digest.update(msgspec.json.encode(board))
    return digest.hexdigest()


def _config(job: Job, emit: Emit, runtime: Runtime) -> dict[str, str]:
    link = job.table.costs.link
    config = {
        "head": job.head.name,
        "tail": job.tail.name,
        "link": f"{link.bandwidth_bps:g}bit rtt={link.rtt_s:g}s "
        f"loss={link.loss_rate:g} mtu={link.mtu_bytes}",
        "objective": job.table.objective,
        "emit": emit,
        "runtime": runtime,
    }
    return {**config, "codec": job.ready.text} if job.ready.text else config


def _unverified(job: Job, received: bool) -> tuple[str, ...]:
    """What to say of channels that `verify` cannot put values through."""
    names = job.ready.channels
    if received or not names:
        return ()
    return (
        f"channel {', '.join(names)} is left out of the code, and verified only while it is "
        "off: it does not stand at the cut",
    )


def _build_parts(
    backend: Backend,
    job: Job,
    parts: Mapping[str, Network],
    lowered: Mapping[str, Any],
    folder: Path,
    split: str,
    runtime: Runtime,
    progress: Callable[[str], None],
    told: Callable[[str, Built], None],
    maps: Collection[str],
) -> tuple[dict[str, str], list[str]]:
    """Build head and tail, and the head for the tail's ISA where the head's is another.

    Returns:
        Tool versions that shaped the bytes, and what to know of the code.
    """
    sides = [("head", job.head, "head"), ("tail", job.tail, "tail")]
    if job.head.isa != job.tail.isa and not isinstance(backend, OnnxBackend):
        sides.insert(1, ("head", job.tail, "golden/head"))

    def written(code: Any, name: str, board: Board, place: Path) -> Built:
        built = backend.write(code, board, place, runtime=runtime == "bundle")
        _describe_part(built, parts[name], name, board, place, split, maps)
        return built

    tools = {"splitc": __version__, "numpy": np.__version__}
    caveats: dict[str, None] = {}
    # A linker is a process of its own: the next part is compiled beside it.
    writer = ThreadPoolExecutor(1, thread_name_prefix="link")
    try:
        linked: list[tuple[str, str, Future[Built]]] = []
        for name, board, where in sides:
            progress(f"compiling {name} for {board.name}")
            place = folder / where
            place.mkdir(parents=True)
            limit = job.table.constraints.max_head_bytes if name == "head" else None
            code = backend.compile(lowered[where], board, limit)
            linked.append((name, where, writer.submit(written, code, name, board, place)))
            del code
        progress("linking")
        for name, where, done in linked:
            built = done.result()
            tools |= built.tools
            if where == name:
                told(name, built)
                caveats[f"{name}: {built.caveat}" if built.caveat else ""] = None
                caveats[_over_limit(job, name, built)] = None
    finally:
        writer.shutdown(cancel_futures=True)
    return tools, [text for text in caveats if text]


def _over_limit(job: Job, name: str, built: Built) -> str:
    """What to say of a head that takes more memory than it may; packing adds to its weights."""
    limit = job.table.constraints.max_head_bytes
    taken = built.weight_bytes + built.activation_bytes
    if name != "head" or limit is None or taken <= limit:
        return ""
    return f"head: its code takes {taken:,} bytes of weights and tensors, the limit is {limit:,}"


def _describe_part(
    built: Built, model: Network, name: str, board: Board, folder: Path, split: str,
    maps: Collection[str],
) -> None:  # fmt: skip
    part = PartManifest(
        schema=SCHEMA,
        part="head" if name == "head" else "tail",
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
        inputs=tuple(TensorSpec.of(t, maps) for t in model.graph.inputs),
        outputs=tuple(TensorSpec.of(t, maps) for t in model.graph.output_tensors),
        files=part_files(folder),
    )
    write_manifest(folder, part)


def _boundary(job: Job, head: Network, maps: Collection[str]) -> tuple[TensorSpec, ...]:
    """What crosses the link, as it lies there."""
    crossing = [head.graph.tensors.get(t.name, t) for t in job.cut.boundary]
    return tuple(TensorSpec.of(tensor, maps) for tensor in crossing)


def _write_bundle(
    folder: Path, job: Job, split: str, tools: dict[str, str], emit: Emit, runtime: Runtime,
    seed: int, boundary: tuple[TensorSpec, ...], received: bool,
) -> None:  # fmt: skip
    cut, cost = job.cut, job.row.cost
    graph = job.model.graph
    write_report(folder / "report.html", job.name, job.table, job.row)
    manifest = Manifest(
        schema=SCHEMA,
        name=job.name,
        split=split,
        source=Source(
            name=job.name,
            sha256=job.source.digest,
            inputs=tuple(TensorSpec.of(t) for t in graph.inputs),
            outputs=tuple(TensorSpec.of(t) for t in graph.output_tensors),
        ),
        cut=CutEntry(
            layers=cut.layers,
            boundary=boundary,
            boundary_bytes=cost.boundary_bytes,
            head_layers=len(cut.head) - graph.input_count,
            tail_layers=len(cut.tail),
            figures=job.table.costs.label,
            head_ms=round(cost.head_s * 1e3, 3),
            link_ms=round(cost.link_s * 1e3, 3),
            tail_ms=round(cost.tail_s * 1e3, 3),
        ),
        codec=_codec(job, received),
        config=_config(job, emit, runtime),
        parts={"head": job.head.name, "tail": job.tail.name},
        seed=seed,
        tolerance=tolerance_of(job.model.graph),
        tools=dict(sorted(tools.items())),
        files=list_files(folder),
    )
    write_manifest(folder, manifest)


def _codec(job: Job, received: bool) -> CodecEntry | None:
    """The manifest's word on the codec: what is inside, and what `received` was sent over."""
    ready = job.ready
    if not ready.text and ready.noisy is None:
        return None
    channels = (
        ChannelEntry(
            op=ready.noisy.graph.layer(name).op, settings=ready.noisy.channel_settings(name)
        )
        for name in ready.channels
        if isinstance(ready.noisy, Trainable)
    )
    return CodecEntry(
        pipeline=ready.text, cut=job.row.cut.name, channels=tuple(channels), received=received
    )


__all__ = ["Job", "build", "choose", "compile", "plan"]
