# SPDX-License-Identifier: Apache-2.0
"""What a bundle's manifest says of the job that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from splitc.build.job import Job
from splitc.build.parts import Parts
from splitc.bundle.golden import tolerance_of
from splitc.cost.topology import DEVICE, SERVER
from splitc.ir.chain import Code
from splitc.ir.model import Network, Trainable
from splitc.ir.proof import Given, Proof
from splitc.runtime.codec_entry import ChannelEntry, CodecCost, CodecEntry
from splitc.runtime.manifest import (
    SCHEMA,
    Manifest,
    Missing,
    PartEntry,
    Predicted,
    Remote,
    Route,
    Source,
    TensorSpec,
    list_files,
)

ROUTE = "cut"
"""Name of the one route of a bundle with one cut."""


def split_digest(job: Job, models: Mapping[str, Network], runtime: str) -> str:
    """Changes when the source model, what is in a part, a board or the configuration does."""
    digest = hashlib.sha256(job.model.digest.encode())
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
    more = {"codec": job.ready.text, "cutter": "" if cutter is None else str(cutter)}
    return {**config, **{key: text for key, text in more.items() if text}}


def _besides(job: Job) -> dict[str, str]:
    """Options that change nothing of what head and tail are to each other."""
    sizes = ",".join(map(str, (1, *job.batch_sizes))) if job.batch_sizes else ""
    more = {"batch": sizes, "whole": "device" if job.with_whole else ""}
    return {key: text for key, text in more.items() if text}


def manifest_of(
    folder: Path,
    job: Job,
    models: Mapping[str, Network],
    built: Parts,
    runtime: str,
    seed: int,
    codec: CodecEntry | None,
) -> Manifest:
    """The manifest of a bundle whose other files are all in its folder.

    Args:
        folder: The bundle's.
        job: What was compiled.
        models: The parts' networks, by name.
        built: What was built of them.
        runtime: `bundle` or `none`.
        seed: Of the golden vectors.
        codec: The codec inside.
    """
    graph = job.model.graph
    return Manifest(
        schema=SCHEMA,
        name=job.name,
        split=built.split,
        source=Source(
            name=job.name,
            sha256=job.source.digest,
            inputs=tuple(TensorSpec.of(t) for t in graph.inputs),
            outputs=tuple(TensorSpec.of(t) for t in graph.output_tensors),
        ),
        parts={
            part.name: PartEntry(
                segment=part.segment.name, site=part.site, target=part.board.name,
                folder=part.name, format=built.formats[part.name],
                layers=len(part.segment.layers), batch=part.batch,
            )
            for part in (*job.parts, *job.others)
        },
        routes=(_route(job, models, codec),),
        default=ROUTE,
        config={**_config(job, runtime), **_besides(job)},
        seed=seed,
        tolerance=tolerance_of(graph),
        tools=dict(sorted(built.tools.items())),
        files=list_files(folder),
    )  # fmt: skip


def crossing(job: Job, models: Mapping[str, Network]) -> tuple[TensorSpec, ...]:
    """What goes over the link, as it lies there."""
    made = {t.name: t for model in models.values() for t in model.graph.output_tensors}
    return tuple(TensorSpec.of(made.get(t.name, t), job.layouts) for t in job.cut.boundary)


def remotes(job: Job, models: Mapping[str, Network]) -> dict[str, tuple[Remote, ...]]:
    """What the parts that send know of the other side, by their names."""
    *_, device = (part.name for part in job.parts if part.site == DEVICE)
    results = tuple(
        TensorSpec.of(tensor, job.layouts)
        for part in job.parts
        if part.site == SERVER
        for tensor in models[part.name].graph.output_tensors
    )
    crosses = crossing(job, models)
    one = Remote(
        route=0, name=ROUTE, crosses=crosses, missing=missing(job, crosses), results=results,
        outputs=job.model.graph.outputs,
    )  # fmt: skip
    return {device: (one,)}


def missing(job: Job, crosses: Sequence[TensorSpec]) -> tuple[Missing, ...]:
    """What stands for elements of what crosses that did not arrive, for each tensor."""
    noisy, codes = job.ready.noisy, job.model.codes
    trained = noisy if isinstance(noisy, Trainable) else None
    return tuple(
        Missing.of(
            spec, codes.get(spec.name, Code()), trained.loss_scale(spec.name) if trained else None
        )
        for spec in crosses
    )


def _route(job: Job, models: Mapping[str, Network], codec: CodecEntry | None) -> Route:
    cost = job.row.cost
    runs: dict[str, tuple[str, ...]] = {}
    crosses = crossing(job, models)
    for part in job.parts:
        runs[part.site] = (*runs.get(part.site, ()), part.name)
    return Route(
        name=ROUTE,
        cut=job.cut.layers,
        runs=runs,
        crosses=crosses,
        boundary_bytes=cost.boundary_bytes,
        predicted=Predicted(
            figures=job.table.costs.label,
            site_ms={
                DEVICE: round(cost.head_s * 1e3, 3), SERVER: round(cost.tail_s * 1e3, 3),
            },
            link_ms=round(cost.link_s * 1e3, 3),
        ),
        proof=_proof(job),
        codec=codec,
        missing=missing(job, crosses),
    )  # fmt: skip


def _proof(job: Job) -> Proof:
    """Why the cut is the best, where it is the one that was found."""
    found = job.table.solution
    if found is not None and found.where.cut == job.row.cut:
        return found.proof
    return Given(value=job.table.value(job.row))


def codec_entry(job: Job, received: bool, cost: CodecCost | None) -> CodecEntry | None:
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


def unverified(job: Job, received: bool) -> tuple[str, ...]:
    """What to say of channels that `verify` cannot put values through."""
    names = job.ready.channels
    if received or not names:
        return ()
    return (
        f"channel {', '.join(names)} is left out of the code, and verified only while it is "
        "off: it does not stand at the cut",
    )
