# SPDX-License-Identifier: Apache-2.0
"""Parts beside those of the route: tails for several frames a call, the device's whole network."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.build.backend import Built
from splitc.build.job import Job
from splitc.build.memory import return_memory
from splitc.build.part_job import PartJob
from splitc.build.parts import Parts, build_parts, place_keys, places_of
from splitc.build.refusals import refuse_contract, refuse_unsupported
from splitc.build.reuse import Reuse
from splitc.bundle.difference import worst_of
from splitc.bundle.golden import Step, tolerance_of
from splitc.bundle.vectors import count_samples, of_route, read_vectors
from splitc.cost.topology import SERVER
from splitc.errors import BadModelError
from splitc.ir.model import Network
from splitc.runtime.files import FileEntry
from splitc.runtime.manifest import TensorSpec
from splitc.runtime.part import stack_samples

_HINT = "leave --batch out: the server then runs such a network frame by frame"


def refuse_others(job: Job, models: Mapping[str, Network]) -> None:
    """Raise where a part beside those of the route cannot be.

    Args:
        job: What is compiled.
        models: The networks of the route's parts, by name.

    Raises:
        BadModelError: The network computes with the number of frames, and where.
        UnsupportedOpError: A backend cannot compile a layer.
    """
    for part in job.others:
        network = _network(part, models)
        if part.backend.compiles:
            refuse_contract(network)
        refuse_unsupported(part.backend, network, part.name)


def check_batches(
    job: Job, models: Mapping[str, Network], golden: Path,
    crosses: Sequence[tuple[TensorSpec, ...]],
) -> None:  # fmt: skip
    """Hold networks for several frames against what the frames give one by one.

    Frames are what each part reads of the golden samples, each changed a little where there are
    more frames than samples, so that no two are the same.

    Args:
        job: What is compiled.
        models: The networks of the routes' parts, by name.
        golden: The folder of the golden vectors.
        crosses: What goes over the link on each route, as it lies there.

    Raises:
        BadModelError: A layer works across frames, and so the frames' results are others.
    """
    for part, known in _fed(job, models, golden, crosses):
        one, many = models[part.alone], _network(part, models)
        names = [tensor.name for tensor in one.graph.inputs]
        frames = [{name: _varied(known[name], k) for name in names} for k in range(part.batch)]
        _compare(part, one, many, frames)
        many.unload()


def _fed(
    job: Job, models: Mapping[str, Network], golden: Path,
    crosses: Sequence[tuple[TensorSpec, ...]],
) -> Generator[tuple[PartJob, Arrays]]:  # fmt: skip
    """The parts for several frames, each once, and what there is to read of each sample."""
    several = {alone: [*parts] for alone, parts in groupby(job.tails, key=lambda part: part.alone)}
    for number, route in enumerate(job.routes if several else ()):
        place = of_route(golden, number, len(job.routes))
        known = read_vectors(place / "boundary", crosses[number])
        for part in route.runs.get(SERVER, ()):
            yield from ((each, known) for each in several.pop(part.alone, ()))
            if several:
                step = Step(part.name, models[part.name], part.stands_for)
                samples = range(count_samples(known))
                known |= stack_samples(
                    [step.run({n: a[k] for n, a in known.items()}) for k in samples]
                )


def _varied(samples: Array, k: int) -> Array:
    """The k-th frame of some samples: one of them, in a later turn a little changed."""
    turn, place = divmod(k, len(samples))
    one = samples[place]
    if one.dtype.kind == "f":
        return (one * (1 - turn / 16)).astype(one.dtype)
    return np.roll(one, turn) if one.dtype.itemsize == 1 else one


def _compare(part: PartJob, one: Network, many: Network, frames: Sequence[Arrays]) -> None:
    inputs = zip(many.graph.inputs, one.graph.inputs, strict=True)
    feed = {to.name: np.concatenate([frame[of.name] for frame in frames]) for to, of in inputs}
    tolerance = tolerance_of(one.graph)
    what = f"the {part.alone} cannot take {part.batch} frames a call"
    try:
        together = many.run(feed)
    except BadModelError as error:
        why = f"{error.what}: {error.why}"
        raise BadModelError(what, at=error.at, why=why, hint=_HINT) from error
    alone = [one.run(frame) for frame in frames]
    results = zip(many.graph.outputs, one.graph.outputs, strict=True)
    for name, known in results:
        got, wanted = together[name], np.concatenate([found[known] for found in alone])
        if got.shape != wanted.shape or not worst_of(
            known, _by_frame(got, part.batch), _by_frame(wanted, part.batch), tolerance
        ).near(tolerance):
            why = f"result '{known}' of a frame is another one beside others: a layer mixes them"
            raise BadModelError(what, why=why, hint=_HINT)


def _by_frame(array: Array, frames: int) -> Array:
    return array.reshape(frames, -1, *array.shape[1:])


def build_others(
    job: Job, models: Mapping[str, Network], folder: Path, scratch: Path | None, runtime: bool,
    split: str, progress: Callable[[str], None], told: Callable[[str, Built], None],
    reuse: Reuse | None = None, *, twins: bool,
) -> Parts:  # fmt: skip
    """Compile and link the parts beside those of the route, one after the other.

    Each is held in memory only while it is compiled: every one holds the weights again.

    Args:
        job: What is compiled.
        models: The networks of the route's parts, by name.
        folder: The bundle's.
        scratch: Where what is only to be checked is built; see `places_of`.
        runtime: Whether parts have the runtime.
        split: The digest that the parts carry.
        progress: Called with each step's name.
        told: Called with a part's name and what was built for its own board.
        reuse: Parts that were compiled before; None to compile all.
        twins: Whether the bundle has builds for this machine of parts that it cannot run.
    """
    built = Parts(split, {}, {}, (), {})
    for part in job.others:
        network = _network(part, models)
        limit = job.scenario.limits.max_head_bytes
        known = {part.alone: models.get(part.alone, network)}
        places = places_of([part], folder, scratch, runtime, job.parts, twins=twins)
        keys = [key for place in places for key in place_keys(place, known, limit)]
        lowered = None if reuse and reuse.has(keys) else part.backend.lower(network)
        built = built.and_(
            build_parts(
                places, known, {part.name: {True: lowered, False: lowered}}, limit, split, {},
                progress, told, reuse,
            )
        )  # fmt: skip
        del network, lowered
        return_memory()
    return built


def _network(part: PartJob, models: Mapping[str, Network]) -> Network:
    if part.batch == 1:
        return part.extract()
    try:
        return models[part.alone].batched(part.batch)
    except BadModelError as error:
        what = f"the {part.alone} cannot take {part.batch} frames a call"
        why = ": ".join(filter(None, (error.what, error.why)))
        raise BadModelError(what, at=error.at, why=why, hint=_HINT) from error


def share_files(folder: Path, files: Mapping[str, FileEntry]) -> None:
    """Have parts with the same files, byte for byte, share them on disk and in memory.

    Weights, libraries and licences each have a name in every part that has them, so that its
    folder is complete by itself: where it is copied somewhere else they become files of its own.

    Args:
        folder: The bundle's.
        files: What is in it.
    """
    first: dict[tuple[int, str, int], Path] = {}
    for name, entry in files.items():
        path = folder / name
        status = path.stat()
        same = first.setdefault((entry.bytes, entry.sha256, status.st_mode), path)
        if same.samefile(path):
            continue
        beside = path.with_name(f".{path.name}.new")
        try:
            os.link(same, beside)
        except OSError:
            # A file system without hard links: the copy that is there is as good.
            continue
        beside.replace(path)
