# SPDX-License-Identifier: Apache-2.0
"""The main job: choose a cut, split, compile both parts, write the bundle."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import msgspec

from splitc.arrays import Array
from splitc.build.backend import Backend, Built, Tuner, Tuning
from splitc.build.codec_cost import codec_cost
from splitc.build.parts import build_parts, places_of, unrunnable
from splitc.build.refusals import refuse_contract, refuse_unsupported
from splitc.build.report import write_report
from splitc.build.tune import refuse_tuning, tune_parts
from splitc.bundle.bundle import SUFFIX, Bundle
from splitc.bundle.golden import Golden, tolerance_of, write_golden
from splitc.bundle.output_folder import beside, move_into_place
from splitc.bundle.verify import Verification, verify_built
from splitc.cost.board import Board
from splitc.errors import IllegalCutError, OutputError, UsageError
from splitc.frontend import load
from splitc.ir.cut import Cut
from splitc.ir.layout import Layouts, maps_of
from splitc.ir.model import Network, Trainable
from splitc.passes.at_cut import Ready, prepare
from splitc.plugins import find
from splitc.runtime.manifest import (
    SCHEMA,
    ChannelEntry,
    CodecCost,
    CodecEntry,
    CutEntry,
    Manifest,
    Source,
    TensorSpec,
    list_files,
    write_manifest,
)
from splitc.search.find import find_cuts
from splitc.search.problem import CutRow
from splitc.search.scenario import Conditions, Scenario, scenario_of
from splitc.search.table import CutTable

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
        scenario: Where it is to run.
        batches: Values that the codec was calibrated with, to say what it costs.
        labels: Their right classes, where they are known.
    """

    source: Network
    ready: Ready
    name: str
    table: CutTable
    row: CutRow
    scenario: Scenario
    batches: Sequence[Mapping[str, Array]] = ()
    labels: Array | None = None

    @property
    def head(self) -> Board:
        """Board of the device."""
        return self.scenario.head.board

    @property
    def tail(self) -> Board:
        """Board of the server."""
        return self.scenario.tail.board

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
            + (" with this codec" if table.problem.codec else ""),
        )
    return row


def backend_of(emit: str) -> Backend:
    """What writes the parts: the backend of that name."""
    return find("backends", emit)()


def plan(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    name: str | None = None,
    emit: Emit = "tvm",
    batches: Sequence[Mapping[str, Array]] = (),
    labels: Array | None = None,
    scenario: Scenario | None = None,
    **conditions: Unpack[Conditions],
) -> Job:
    """Load the model if need be, search the cuts, choose one and put the codec there.

    Whatever `emit` names compiles either part, so a layer that it cannot compile is refused
    before any cut is priced.

    Raises:
        UnsupportedOpError: A layer cannot be compiled, whatever the cut.
        SplitcError: See `splitc.load`, `splitc.find_cuts`, `choose` and
            `splitc.passes.at_cut.prepare`.
    """
    loaded: Network = load(model) if isinstance(model, str | Path) else model
    if name is None:
        name = Path(model).stem if isinstance(model, str | Path) else loaded.name
    # A graph's name comes out of the file, and becomes a folder's.
    name = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "model"
    given = scenario_of(scenario, conditions)
    refuse_unsupported(backend_of(emit), loaded, "network")
    table = find_cuts(loaded, scenario=given)
    row = choose(table, cut)
    ready = prepare(loaded, row.cut, given.codec, batches)
    return Job(loaded, ready, name, table, row, given, batches, labels)


def compile(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    scenario: Scenario | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    emit: Emit = "tvm",
    runtime: Runtime = "bundle",
    seed: int = 0,
    tuning: Tuning | None = None,
    batches: Sequence[Mapping[str, Array]] = (),
    labels: Array | None = None,
    check: bool = True,
    **conditions: Unpack[Conditions],
) -> Bundle:
    """Compile a network into a head for the device and a tail for the server.

    Args:
        model: A loaded model, or the path of an ONNX or `.pt2` file or of a fine-tuned folder.
        cut: `auto`, or the head's last layers with commas between. `auto` is the cut that a
            pass or fine-tuning gave the model, or else the best one.
        scenario: Where the network is to run and what `auto` minimises.
        output: Folder to write; by default `NAME.splitc` here.
        name: The bundle's name; by default the file's.
        emit: `tvm` for compiled code, `onnx` for two ONNX files.
        runtime: `none` leaves TVM's runtime libraries and the runner out.
        seed: Of the golden inputs, and of what a channel draws for the golden vectors.
        tuning: Measure other kernels than the analytic choice, and use what is quicker.
        batches: Values to calibrate the codec with: arrays by input name.
        labels: Their right classes, samples along the first axis: the manifest gets the
            accuracy with the codec and without.
        check: Run the compiled parts on the golden vectors before the bundle is there.
        conditions: The scenario as keywords: `head` and `tail`, each a board or a cost model,
            `link`, `objective`, `constraints`, `codec` and `cutter`. A learned codec that was
            not trained is compiled as it is.

    Returns:
        The bundle, written and complete.

    Raises:
        VerificationError: The compiled parts compute something else than the network.
        SplitcError: Bad model, unsupported op, no legal cut, toolchain failure,
            output folder that cannot be written.

    References:
        The cut: Hu et al., INFOCOM 2019, corrected; see `splitc_passes.cutters.min_cut`.
    """
    job = plan(
        model, cut=cut, name=name, emit=emit, batches=batches, labels=labels, scenario=scenario,
        **conditions,
    )  # fmt: skip
    return build(
        job, output=output, emit=emit, runtime=runtime, seed=seed, tuning=tuning, check=check
    )


def build(
    job: Job,
    *,
    output: str | Path | None = None,
    emit: Emit = "tvm",
    runtime: Runtime = "bundle",
    seed: int = 0,
    tuning: Tuning | None = None,
    check: bool = True,
    progress: Callable[[str], None] = lambda step: None,
    note: Callable[[str], None] = lambda text: None,
    told: Callable[[str, Built], None] = lambda part, built: None,
    checked: Callable[[Verification], None] = lambda found: None,
) -> Bundle:
    """Split, compile both parts, check them and write the bundle of a planned job.

    Args:
        job: What `plan` decided.
        output: Folder to write; by default `NAME.splitc` here.
        emit: `tvm` or `onnx`.
        runtime: `bundle` or `none`.
        seed: Of the golden inputs.
        tuning: Whether and how long to measure kernels; None for the analytic choice.
        check: Run the compiled parts on the golden vectors before the bundle is moved into
            place.
        progress: Called with each step's name as it begins.
        note: Called with what a user should know of the code that was made.
        told: Called with "head" or "tail" and what was built for it.
        checked: Called with what the check found.

    Raises:
        SplitcError: See `compile`. Nothing is left half-written.
    """
    target = Path(output) if output is not None else Path(job.name + SUFFIX)
    backend = backend_of(emit)
    progress("splitting")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative")
    layouts = maps_of(job.cut) if backend.channels_last else {}
    head, tail = job.model.split(job.cut, layouts)
    parts = {"head": head, "tail": tail}
    if emit != "onnx":
        for part in parts.values():
            refuse_contract(part)
    for name, part in parts.items():
        refuse_unsupported(backend, part, name)
    if tuning is not None:
        refuse_tuning(backend, job, tuning, emit)
    lowered = {name: backend.lower(part) for name, part in parts.items()}
    tuned: dict[str, Any] = {}
    if isinstance(backend, Tuner) and tuning is not None:
        tuned = tune_parts(backend, job, tuning, parts, lowered, progress)
    room = ExitStack()
    try:
        folder = room.enter_context(beside(target))
        scratch = room.enter_context(beside(target)) if check and runtime == "none" else None
        progress("golden vectors")
        golden = write_golden(folder / "golden", job.ready, head, tail, layouts, seed)
        cost = _cost(job, golden, progress)
        boards = {"head": job.head, "tail": job.tail}
        split = _split_digest(job, parts, emit, runtime)
        places = places_of(backend, boards, folder, scratch, runtime == "bundle")
        built = build_parts(
            backend, places, parts,
            {name: {True: tuned.get(name, code), False: code} for name, code in lowered.items()},
            job.scenario.limits.max_head_bytes, split, layouts, progress, told,
        )  # fmt: skip
        progress("writing the bundle")
        codec = _codec(job, golden.received, cost)
        boundary = _boundary(job, head, layouts)
        manifest = _write_bundle(
            folder, job, split, built.tools, emit, runtime, seed, boundary, codec
        )
        unchecked = unrunnable(backend, places) if check else ""
        if check and not unchecked:
            progress("checking it on golden vectors")
            checked(verify_built(folder, manifest, scratch))
        progress("moving it into place")
        move_into_place(folder, target)
    except OSError as error:
        raise OutputError(
            f"cannot write '{target}'", why=error.strerror or str(error), hint="choose another -o"
        ) from error
    finally:
        room.close()
    unverified = _unverified(job, golden.received)
    for caveat in (*job.ready.notes, *golden.notes, *unverified, *built.caveats, unchecked):
        if caveat:
            note(caveat)
    return Bundle.open(target)


def _cost(job: Job, golden: Golden, progress: Callable[[str], None]) -> CodecCost | None:
    """What a codec that was put in costs; None where the network came with its own."""
    if job.scenario.codec is None:
        return None
    progress("what the codec costs")
    return codec_cost(
        job.model, job.source, job.batches or golden.feeds, job.labels, golden=not job.batches
    )


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
    link = job.scenario.link
    config = {
        "head": job.head.name,
        "tail": job.tail.name,
        "link": f"{link.bandwidth_bps:g}bit rtt={link.rtt_s:g}s "
        f"loss={link.loss_rate:g} mtu={link.mtu_bytes}",
        "objective": job.scenario.objective,
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


def _boundary(job: Job, head: Network, layouts: Layouts) -> tuple[TensorSpec, ...]:
    """What crosses the link, as it lies there."""
    crossing = [head.graph.tensors.get(t.name, t) for t in job.cut.boundary]
    return tuple(TensorSpec.of(tensor, layouts) for tensor in crossing)


def _write_bundle(
    folder: Path, job: Job, split: str, tools: dict[str, str], emit: Emit, runtime: Runtime,
    seed: int, boundary: tuple[TensorSpec, ...], codec: CodecEntry | None,
) -> Manifest:  # fmt: skip
    cut, cost = job.cut, job.row.cost
    graph = job.model.graph
    write_report(folder / "report.html", job.name, job.table, job.row, codec)
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
        codec=codec,
        config=_config(job, emit, runtime),
        parts={"head": job.head.name, "tail": job.tail.name},
        seed=seed,
        tolerance=tolerance_of(job.model.graph),
        tools=dict(sorted(tools.items())),
        files=list_files(folder),
    )
    write_manifest(folder, manifest)
    return manifest


def _codec(job: Job, received: bool, cost: CodecCost | None) -> CodecEntry | None:
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
        pipeline=ready.text, cut=job.row.cut.name, channels=tuple(channels), received=received,
        cost=cost,
    )  # fmt: skip


__all__ = ["Job", "build", "choose", "compile", "plan"]
