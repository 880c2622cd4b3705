# SPDX-License-Identifier: Apache-2.0
"""Measuring the kernels of head and tail, each in its share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from splitc.build.backend import Backend, Tuner, Tuning
from splitc.errors import UsageError
from splitc.ir.model import Network

if TYPE_CHECKING:
    from splitc.build.compiler import Job


def refuse_tuning(backend: Backend, job: Job, tuning: Tuning, emit: str) -> None:
    """Raise where a part cannot be tuned.

    Raises:
        UsageError: The backend measures nothing, or not so long, or not these parts.
        DeviceError: Nothing answers at the address.
    """
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


def tune_parts(
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
