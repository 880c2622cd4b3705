# SPDX-License-Identifier: Apache-2.0
"""Measuring the kernels of head and tail, each in its share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from splitc.build.backend import Tuner, Tuning
from splitc.build.job import Job
from splitc.cost.topology import DEVICE, SERVER
from splitc.errors import UsageError
from splitc.ir.model import Network


def tuned_parts(job: Job, tuning: Tuning) -> tuple[str, ...]:
    """Names of the parts to tune: `head` is all that runs on the device, `tail` on the server."""
    sides = {"head": DEVICE, "tail": SERVER}
    found: list[str] = []
    for name in tuning.parts:
        site = sides.get(name)
        found += [part.name for part in job.parts if part.site == site] if site else [name]
    return tuple(found)


def refuse_tuning(job: Job, tuning: Tuning) -> None:
    """Raise where a part cannot be tuned.

    Raises:
        UsageError: A backend measures nothing, or not so long, or not these parts.
        DeviceError: Nothing answers at the address.
    """
    parts = {part.name: part for part in job.parts}
    names = tuned_parts(job, tuning)
    if not 0 <= tuning.seconds < 1e7:
        raise UsageError(f"cannot tune for {tuning.seconds:g} seconds")
    if not names or not set(names) <= parts.keys():
        known = [*parts] if len(job.routes) == 1 else ["head", "tail", *parts]
        hint = " or ".join([*known, ",".join(known[:2])])
        raise UsageError(f"no parts '{','.join(tuning.parts)}'", hint=hint)
    on_device = [name for name in names if parts[name].site == DEVICE]
    if tuning.rpc and not on_device:
        raise UsageError("--tune-rpc measures the head's kernels, and the head is not tuned")
    for name in names:
        backend = parts[name].backend
        if not isinstance(backend, Tuner):
            what = f"--emit {backend.name} has no kernels to tune"
            raise UsageError(what, hint="leave --tune out")
        backend.refuse_tuning(parts[name].board, tuning.rpc if name in on_device else "")


def tune_parts(
    job: Job, tuning: Tuning, models: Mapping[str, Network],
    lowered: Mapping[str, Any], progress: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """The parts with what was measured for them.

    Each gets a share of the time by its arithmetic, and leaves the next what it did not need.
    """
    end = time.monotonic() + tuning.seconds
    tuned: dict[str, Any] = {}
    parts = {part.name: part for part in job.parts}
    work = {name: 1 + sum(each.flops for each in models[name].graph.layers) for name in models}
    names = tuned_parts(job, tuning)
    for name in dict.fromkeys(names):
        part = parts[name]
        share = work[name] / sum(work[n] for n in names if n not in tuned)
        seconds = share * max(0.0, end - time.monotonic())
        assert isinstance(part.backend, Tuner)
        tuned[name] = part.backend.tune(
            lowered[name], part.board, seconds, tuning.rpc if part.site == DEVICE else "",
            lambda step, name=name: progress(f"tuning {name}: {step}"),
        )  # fmt: skip
    return tuned
