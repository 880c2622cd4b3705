# SPDX-License-Identifier: Apache-2.0
"""The main job: choose a cut, split, compile both parts, write the bundle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

from splitc.arrays import Array
from splitc.build.backend import Built, Tuning
from splitc.build.describe import (
    codec_entry,
    crossing,
    manifest_of,
    record_of,
    remotes,
    route_entry,
    split_digest,
    tools_of,
    unverified,
    ways_of,
)
from splitc.build.evidence import write_evidence
from splitc.build.halves import beyond_halves
from splitc.build.job import EMIT, Job, choose, plan
from splitc.build.job import plan as decide
from splitc.build.memory import return_memory
from splitc.build.options import recorded_call
from splitc.build.others import build_others, check_batches, refuse_others, share_files
from splitc.build.parts import build_parts, places_of, reused, unrunnable
from splitc.build.refusals import refuse_contract, refuse_empty_crossing, refuse_unsupported
from splitc.build.reuse import Reuse
from splitc.build.route_spec import RouteSpec
from splitc.build.routes import RouteJob
from splitc.build.sbom import write_sbom
from splitc.build.tune import refuse_tuning, tune_parts
from splitc.bundle.bundle import SUFFIX, Bundle
from splitc.bundle.codec_cost import codec_cost
from splitc.bundle.golden import Golden, write_golden
from splitc.bundle.output_folder import beside, move_into_place
from splitc.bundle.record import DataFile, write_record
from splitc.bundle.rounding import rounding_of, unsteady_samples
from splitc.bundle.verify import Verification, verify_built
from splitc.cost.topology import DEVICE
from splitc.errors import OutputError, UsageError
from splitc.ir.graph import Tensor
from splitc.ir.model import Network, Trainable
from splitc.reporting.collect import report_data
from splitc.reporting.data import write_data
from splitc.reporting.make import add_page
from splitc.runtime.codec_entry import CodecCost
from splitc.runtime.manifest import Route, write_manifest
from splitc.search.plan_file import PlanFile
from splitc.search.scenario import Conditions, Scenario

Runtime = Literal["bundle", "none"]


def compile(
    model: Network | str | Path,
    *,
    cut: str = "auto",
    cuts: Sequence[str | RouteSpec] = (),
    bits: Sequence[int] = (),
    plan: PlanFile | str | Path | None = None,
    scenario: Scenario | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    emit: str = EMIT,
    runtime: Runtime = "bundle",
    seed: int = 0,
    tuning: Tuning | None = None,
    batch_sizes: Sequence[int] = (),
    with_whole: bool = False,
    batches: Sequence[Mapping[str, Array]] = (),
    labels: Array | None = None,
    check: bool = True,
    twins: bool = True,
    **conditions: Unpack[Conditions],
) -> Bundle:
    """Compile a network into a head for the device and a tail for the server.

    Args:
        model: A loaded model, or the path of an ONNX or `.pt2` file or of a fine-tuned folder.
        cut: `auto`, or the head's last layers with commas between. `auto` is the cut that a
            pass or fine-tuning gave the model, or else the best one. Or no cut: `device`, the
            one part `whole` and no link; `server`, where the inputs cross; or `best`, the
            better of these and `auto`.
        cuts: Several nested ones in the place of `cut`, each with `+` between its layers: the
            bundle has a route for each, or for each `RouteSpec`. `server` may be among them.
        bits: Widths from 1 to 16: each cut gets one more route for each, on which what crosses
            is sent in so many bits.
        plan: The routes of a plan, or of the file that `splitc plan` wrote, in the place of
            all three.
        scenario: Where the network is to run and what `auto` minimises.
        output: Folder to write; by default `NAME.splitc` here.
        name: The bundle's name; by default the file's.
        emit: What writes the parts: `tvm` for compiled code, `onnx` for ONNX files, or another
            backend's name; two with a comma between for head and tail.
        runtime: `none` leaves out what runs a part: the runner and its library.
        seed: Of the golden inputs, and of what a channel draws for the golden vectors.
        tuning: Measure other kernels than the analytic choice, and use what is quicker.
        batch_sizes: How many frames a call the tail is compiled for besides one, for a server
            that runs waiting frames together: parts `tail-x2`, `tail-x4`, ...
        with_whole: Compile the whole network for the device too, as the part `whole`: for when
            the server is silent.
        batches: Values to calibrate the codec with: arrays by input name.
        labels: Their right classes, samples along the first axis: the manifest gets the
            accuracy with the codec and without.
        check: Run the compiled parts on the golden vectors before the bundle is there.
        twins: Build parts for this machine too that it cannot run, into `golden/`: for
            `Bundle.run` and `verify` to run in their place.
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
    job = decide(
        model, cut=cut, cuts=cuts, bits=bits, by_plan=plan, name=name, emit=emit,
        batches=batches, labels=labels, batch_sizes=batch_sizes, with_whole=with_whole,
        scenario=scenario, **conditions,
    )  # fmt: skip
    if isinstance(model, str | Path) and scenario is None and not batches:
        sizes = ",".join(map(str, batch_sizes))
        names = [one for one in cuts if isinstance(one, str)]
        given: dict[str, Any] = {
            "cut": cut, "bits": ",".join(map(str, bits)), "batch": sizes, "emit": emit,
            "runtime": runtime, "seed": seed, "with_whole": with_whole,
            "cuts": ",".join(names) if len(names) == len(cuts) else cuts,
            "plan": str(plan) if isinstance(plan, Path) else plan, "tune": tuning is not None,
        }  # fmt: skip
        named = {"plan": plan, "calibrate": conditions.get("calibrate")}
        named |= {} if job.scenario.cutter is None else job.scenario.cutter.reads
        files = {name: Path(one) for name, one in named.items() if isinstance(one, str | Path)}
        data = tuple(DataFile.of(option, path) for option, path in files.items())
        job = replace(job, asked=recorded_call(model, given, conditions), data=data)
    return build(
        job, output=output, runtime=runtime, seed=seed, tuning=tuning, check=check, twins=twins
    )


def build(
    job: Job,
    *,
    output: str | Path | None = None,
    runtime: Runtime = "bundle",
    seed: int = 0,
    tuning: Tuning | None = None,
    check: bool = True,
    twins: bool = True,
    progress: Callable[[str], None] = lambda step: None,
    note: Callable[[str], None] = lambda text: None,
    told: Callable[[str, Built], None] = lambda part, built: None,
    checked: Callable[[Verification], None] = lambda found: None,
    reuse: Reuse | None = None,
) -> Bundle:
    """Split, compile both parts, check them and write the bundle of a planned job.

    Args:
        job: What `plan` decided.
        output: Folder to write; by default `NAME.splitc` here.
        runtime: `bundle` or `none`.
        seed: Of the golden inputs.
        tuning: Whether and how long to measure kernels; None for the analytic choice.
        check: Run the compiled parts on the golden vectors before the bundle is moved into
            place.
        twins: Keep what stands in for parts that this machine cannot run; see `compile`.
        progress: Called with each step's name as it begins.
        note: Called with what a user should know of the code that was made.
        told: Called with a part's name and what was built for it.
        checked: Called with what the check found.
        reuse: Parts that this process compiled before; what is the same is copied.

    Raises:
        SplitcError: See `compile`. Nothing is left half-written.
    """
    target = Path(output) if output is not None else Path(job.name + SUFFIX)
    progress("splitting")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative")
    models = {part.name: part.extract() for part in job.parts}
    _refuse(job, models, tuning)
    room = ExitStack()
    try:
        folder = room.enter_context(beside(target))
        vectors = folder / "golden"
        apart = check and (runtime == "none" or not twins)
        scratch = room.enter_context(beside(target)) if apart else None
        bundled = runtime == "bundle"
        places = places_of(job.parts, folder, scratch, bundled, twins=twins)
        limit = job.scenario.limits.max_head_bytes
        progress("golden vectors")
        needed = {place.part.name for place in places} - reused(places, models, limit, reuse)
        golden, lowered = _golden_beside_lowering(job, models, vectors, seed, needed)
        tuned = {} if tuning is None else tune_parts(job, tuning, models, lowered, progress)
        check_batches(job, models, vectors, [crossing(route, models) for route in job.routes])
        routes = _routes(job, models, golden, progress)
        for network in (job.source, *(part.network for part in job.parts), *models.values()):
            network.unload()
        return_memory()
        split = split_digest(job, models, runtime)
        built = build_parts(
            places, models,
            {name: {True: tuned.get(name, code), False: code} for name, code in lowered.items()},
            limit, split, remotes(job, models, routes), progress, told, reuse,
        )  # fmt: skip
        built = built.and_(
            build_others(
                job, models, folder, scratch, bundled, split, progress, told, reuse, twins=twins
            )
        )
        progress("writing the bundle")
        write_data(folder, report_data(job.table, job.row, [one.row for one in job.routes]))
        write_record(folder, record_of(job))
        write_evidence(folder, job)
        write_sbom(folder, job, built, job.data, tools_of(job, built))
        manifest = add_page(folder, manifest_of(folder, job, routes, built, runtime, seed))
        share_files(folder, manifest.files)
        write_manifest(folder, manifest)
        unchecked = unrunnable(job.parts, places) if check else ""
        if check and not unchecked:
            progress("checking it on golden vectors")
            rounding = partial(rounding_of, job.trunk, ways_of(job, models), golden.feeds, seed)
            checked(verify_built(folder, manifest, scratch, rounding))
        progress("moving it into place")
        move_into_place(folder, target)
    except OSError as error:
        raise OutputError(
            f"cannot write '{target}'", why=error.strerror or str(error), hint="choose another -o"
        ) from error
    finally:
        room.close()
    bundle = Bundle.open(target)
    for caveat in (
        *_caveats(job, golden), *built.caveats, *unsteady_samples(bundle.manifest), unchecked,
    ):  # fmt: skip
        if caveat:
            note(caveat)
    return bundle


def _refuse(job: Job, models: Mapping[str, Network], tuning: Tuning | None) -> None:
    """Raise where a part cannot be compiled or tuned."""
    for part in job.parts:
        if part.backend.compiles:
            refuse_contract(models[part.name])
        refuse_unsupported(part.backend, models[part.name], part.name)
    for route in job.routes:
        refuse_empty_crossing(_arriving(route, models))
    refuse_others(job, models)
    if tuning is not None:
        refuse_tuning(job, tuning)


def _arriving(route: RouteJob, models: Mapping[str, Network]) -> Iterator[Tensor]:
    """What parts that are not on the device read and no part of their site makes."""
    for site, parts in route.runs.items():
        if site == DEVICE:
            continue
        graphs = [models[part.name].graph for part in parts]
        made = {tensor.name for graph in graphs for tensor in graph.output_tensors}
        yield from (t for graph in graphs for t in graph.inputs if t.name not in made)


def _caveats(job: Job, golden: Golden) -> list[str]:
    """What to know of the codecs, of numbers that parts do not hold, and of what verifies them."""
    found = [*dict.fromkeys(note for route in job.routes for note in route.ready.notes)]
    found += golden.notes
    for number, route in enumerate(job.routes):
        found += unverified(route, number in golden.received)
    return [*found, *beyond_halves(job.parts, golden.feeds[0])]


def _golden_beside_lowering(
    job: Job, models: Mapping[str, Network], folder: Path, seed: int, needed: Collection[str]
) -> tuple[Golden, dict[str, Any]]:
    """The golden vectors, and the parts that are needed as their backends have them, by name."""
    ways = ways_of(job, models)
    with ThreadPoolExecutor(1, thread_name_prefix="golden") as beside_it:
        vectors = beside_it.submit(write_golden, folder, job.trunk, ways, seed)
        if isinstance(job.trunk, Trainable):
            # Tracing replaces methods of PyTorch's modules, also of those that run.
            wait([vectors])
        lowered = {
            part.name: part.backend.lower(models[part.name])
            for part in job.parts
            if part.name in needed
        }
        return vectors.result(), lowered


def _routes(
    job: Job, models: Mapping[str, Network], golden: Golden, progress: Callable[[str], None]
) -> tuple[Route, ...]:
    """The routes as the manifest has them, and what their codecs cost."""
    found: list[Route] = []
    for number, route in enumerate(job.routes):
        cost: CodecCost | None = None
        # A network that came with its codec has nothing to be held against.
        if route.codec is not None:
            progress("what the codec costs")
            cost = codec_cost(
                route.ready.model, job.source, job.batches or golden.feeds, job.labels,
                golden=not job.batches,
            )  # fmt: skip
        entry = codec_entry(route, number in golden.received, cost)
        found.append(route_entry(job, route, models, entry))
    return tuple(found)


__all__ = ["Job", "build", "choose", "compile", "plan"]
