# SPDX-License-Identifier: Apache-2.0
"""What a bundle's manifest says of the job that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from splitc.build.evidence import proof_of
from splitc.build.job import Job
from splitc.build.parts import Parts
from splitc.build.routes import RouteJob
from splitc.bundle.difference import BFLOAT16_TOLERANCE, LOOSEST_TOLERANCE
from splitc.bundle.golden import Step, Way, tolerance_of
from splitc.bundle.record import BuildRecord
from splitc.cost.precision import rounds
from splitc.cost.topology import DEVICE, SERVER
from splitc.frontend.onnx.bounded import counted_results
from splitc.ir.chain import Code
from splitc.ir.model import Network, Trainable
from splitc.passes.at_cut import Ready
from splitc.runtime.codec_entry import ChannelEntry, CodecCost, CodecEntry
from splitc.runtime.files import list_files
from splitc.runtime.manifest import (
    SCHEMA,
    Expected,
    Manifest,
    Missing,
    PartEntry,
    Predicted,
    Remote,
    Route,
    Source,
    TensorSpec,
)


def split_digest(job: Job, models: Mapping[str, Network], runtime: str) -> str:
    """Changes when the source model, what is in a part, a board or the configuration does."""
    digest = hashlib.sha256()
    for network in {id(part.network): part.network for part in job.parts}.values():
        digest.update(network.digest.encode())
    digest.update(json.dumps(_config(job, runtime), sort_keys=True).encode())
    for part in job.parts:
        digest.update(str(models[part.name].graph).encode())
    for part in job.parts:
        digest.update(msgspec.json.encode(part.board))
    return digest.hexdigest()


def _config(job: Job, runtime: str) -> dict[str, str]:
    link, cutter = job.scenario.link, job.scenario.cutter
    config = {
        **{part.name: part.board.name for part in job.parts},
        "link": f"{link.bandwidth_bps:g}bit rtt={link.rtt_s:g}s "
        f"loss={link.loss_rate:g} mtu={link.mtu_bytes}",
        "objective": job.scenario.objective,
        "emit": job.emit,
        "runtime": runtime,
    }
    several = {one.name: one.ready.text for one in job.routes} if len(job.routes) > 1 else {}
    more = {
        "codec": "" if several else job.ready.text,
        "routes": json.dumps(several) if several else "",
        "cutter": "" if cutter is None else cutter.plain,
        "results": "server" if job.scenario.results == "server" else "",
    }
    return {**config, **{key: text for key, text in more.items() if text}}


def _besides(job: Job) -> dict[str, str]:
    """Options that change nothing of what head and tail are to each other."""
    sizes = ",".join(map(str, (1, *job.batch_sizes))) if job.batch_sizes else ""
    more = {"batch": sizes, "whole": "device" if job.with_whole else ""}
    return {key: text for key, text in more.items() if text}


def manifest_of(
    folder: Path,
    job: Job,
    routes: tuple[Route, ...],
    built: Parts,
    runtime: str,
    seed: int,
) -> Manifest:
    """The manifest of a bundle whose other files are all in its folder.

    Args:
        folder: The bundle's.
        job: What was compiled.
        routes: Its routes.
        built: What was built.
        runtime: `bundle` or `none`.
        seed: Of the golden vectors.
    """
    graph = job.trunk.graph
    return Manifest(
        schema=SCHEMA,
        name=job.name,
        split=built.split,
        source=Source(
            name=job.name,
            sha256=job.quantized.given_digest if job.quantized else job.source.digest,
            inputs=tuple(TensorSpec.of(t) for t in graph.inputs),
            outputs=tuple(TensorSpec.of(t) for t in graph.output_tensors),
            counted=counted_results(job.trunk),
            quantized=job.quantized.entry if job.quantized else None,
        ),
        parts={
            part.name: PartEntry(
                segment=part.segment.name, site=part.site, target=part.board.name,
                folder=part.name, format=built.formats[part.name],
                layers=len(part.segment.layers), batch=part.batch,
            )
            for part in (*job.parts, *job.others)
        },
        routes=routes,
        default=job.default.name,
        config={**_config(job, runtime), **_besides(job)},
        seed=seed,
        tolerance=_tolerance(job),
        tools=tools_of(job, built),
        files=list_files(folder),
        results=job.scenario.results,
    )  # fmt: skip


def _tolerance(job: Job) -> float:
    """The relative error that results may have: of the loosest network, or of what is rounded."""
    most = max(tolerance_of(route.ready.model.graph) for route in job.routes)
    boards = [site.board for site in job.sites.values()]
    if any(board.unit.precision == "bf16" for board in boards):
        return max(most, BFLOAT16_TOLERANCE)
    return max(most, LOOSEST_TOLERANCE) if any(map(rounds, boards)) else most


def tools_of(job: Job, built: Parts) -> dict[str, str]:
    """Versions of what shaped the bytes, golden vectors too: each network by its reference."""
    packages = ("torch",) if isinstance(job.trunk, Trainable) else ("onnx", "onnxruntime")
    return dict(sorted({**built.tools, **{name: version(name) for name in packages}}.items()))


def record_of(job: Job) -> BuildRecord:
    """How a bundle is made, for it to be made again."""
    return BuildRecord(
        options=dict(job.asked),
        boards={name: site.board for name, site in job.sites.items()},
        data=job.data,
        source_date_epoch=job.epoch,
    )


def crossing(route: RouteJob, models: Mapping[str, Network]) -> tuple[TensorSpec, ...]:
    """What goes over the link, as it lies there."""
    made = {t.name: t for part in route.parts for t in models[part.name].graph.output_tensors}
    return tuple(
        TensorSpec.of(made.get(t.name, t), route.layouts) for t in route.ready.cut.boundary
    )


def remotes(
    job: Job, models: Mapping[str, Network], routes: Sequence[Route]
) -> dict[str, tuple[Remote, ...]]:
    """What the first parts on the device know of the other side on each route, by their names.

    Args:
        job: What is compiled.
        models: The parts' networks, by name.
        routes: Its routes, as the manifest has them.
    """
    makes = {part.name: part.specs(models[part.name].graph.output_tensors) for part in job.parts}
    outputs = job.trunk.graph.outputs if job.scenario.results == "device" else ()
    found: dict[str, tuple[Remote, ...]] = {}
    for number, route in enumerate(routes):
        if not route.behind:
            continue
        runs = route.runs[DEVICE]
        first = next(iter(runs))
        several = len(routes) > 1
        one = Remote(
            route=number, name=route.name, crosses=route.crosses, missing=route.missing,
            results=route.results(makes, outputs), outputs=outputs,
            runs=runs if len(runs) > 1 else (), expected=_expected(route) if several else None,
        )  # fmt: skip
        found[first] = (*found.get(first, ()), one)
    return found


def ways_of(job: Job, models: Mapping[str, Network]) -> tuple[Way, ...]:
    """The routes by their reference, in order."""
    steps = {part.name: Step(part.name, models[part.name], part.stands_for) for part in job.parts}

    def at(site: str, route: RouteJob) -> tuple[Step, ...]:
        return tuple(steps[part.name] for part in route.runs.get(site, ()))

    return tuple(
        Way(route.ready, at(DEVICE, route), at(SERVER, route), route.layouts)
        for route in job.routes
    )


def _expected(route: Route) -> Expected:
    """What a policy begins with."""
    took, cost = route.predicted, route.codec.cost if route.codec else None
    return Expected(
        head_ms=took.site_ms[DEVICE], tail_ms=took.site_ms[SERVER], link_ms=took.link_ms,
        agreement=1.0 if cost is None else cost.agreement,
    )  # fmt: skip


def missing(route: RouteJob, crosses: Sequence[TensorSpec]) -> tuple[Missing, ...]:
    """What stands for elements of what crosses that did not arrive, for each tensor."""
    return missing_at(route.ready, crosses)


def missing_at(ready: Ready, crosses: Sequence[TensorSpec]) -> tuple[Missing, ...]:
    """The same of a network that is ready to be split."""
    noisy, codes = ready.noisy, ready.model.codes
    trained = noisy if isinstance(noisy, Trainable) else None
    return tuple(
        Missing.of(
            spec, codes.get(spec.name, Code()), trained.loss_scale(spec.name) if trained else None
        )
        for spec in crosses
    )


def route_entry(
    job: Job, route: RouteJob, models: Mapping[str, Network], codec: CodecEntry | None
) -> Route:
    """A route as the manifest has it.

    Args:
        job: What is compiled.
        route: One of its routes.
        models: The parts' networks, by name.
        codec: The codec inside.
    """
    cost, crosses = route.row.cost, crossing(route, models)
    return Route(
        name=route.name,
        cut=route.ready.cut.layers,
        runs={site: tuple(part.name for part in parts) for site, parts in route.runs.items()},
        crosses=crosses,
        boundary_bytes=cost.boundary_bytes,
        predicted=Predicted(
            figures=job.table.costs.label,
            site_ms={
                DEVICE: round(cost.head_s * 1e3, 3), SERVER: round(cost.tail_s * 1e3, 3),
            },
            link_ms=round(cost.link_s * 1e3, 3),
        ),
        proof=proof_of(job, route),
        codec=codec,
        missing=missing(route, crosses),
    )  # fmt: skip


def codec_entry(route: RouteJob, received: bool, cost: CodecCost | None) -> CodecEntry | None:
    """The manifest's word on the codec: what is inside, and what `received` was sent over."""
    ready = route.ready
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
        pipeline=ready.text, cut=route.row.cut.name, channels=tuple(channels), received=received,
        cost=cost,
    )  # fmt: skip


def unverified(route: RouteJob, received: bool) -> tuple[str, ...]:
    """What to say of channels that `verify` cannot put values through."""
    names = route.ready.channels
    if received or not names:
        return ()
    return (
        f"channel {', '.join(names)} is left out of the code, and verified only while it is "
        "off: it does not stand at the cut",
    )
