# SPDX-License-Identifier: Apache-2.0
"""Plans as files: the routes that a bundle should have, and which one each condition wants."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import msgspec

from splitc.errors import UsageError, nearest

SCHEMA = 1
_MAX_BYTES = 16 * 2**20
_MOST_ROUTES = 64


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that it does not know is an error."""


class PlanModel(_Strict, frozen=True):
    """The network that a plan is of: its name, and the digest that manifests have as `source`."""

    name: str
    sha256: str


class PlanLink(_Strict, frozen=True):
    """What all conditions have of the link: round trip in seconds, share of packets lost."""

    rtt_s: float = 0.0
    loss: float = 0.0


class PlanRoute(_Strict, frozen=True):
    """One route: its name, the head's last layers, bytes that cross, its codec's text if any."""

    name: str
    cut: tuple[str, ...]
    boundary_bytes: int
    codec: str = ""


class Condition(_Strict, frozen=True):
    """A condition and what it wants.

    `cpu` and `memory` are the shares of the device's processor and memory bandwidth that others
    take, in [0, 1); `bandwidth_bps` is the link's; `route` names the quickest route there, and
    `latency_s` says what each takes, by name.
    """

    cpu: float
    memory: float
    bandwidth_bps: float
    route: str
    latency_s: dict[str, float]


class Skipped(_Strict, frozen=True):
    """A condition that could not be measured, and why."""

    cpu: float
    memory: float
    bandwidth_bps: float
    why: str


class PlanFile(_Strict, frozen=True):
    """What `splitc plan` writes: `compile --plan` and the policy `map` read it.

    Routes are nested, the smallest head first. `figures` says where the times come from: it
    begins with `predicted` or `measured`; `skipped` are conditions that were to be measured and
    could not be.
    """

    schema: int
    model: PlanModel
    head: str
    tail: str
    link: PlanLink
    figures: str
    routes: tuple[PlanRoute, ...]
    conditions: tuple[Condition, ...]
    skipped: tuple[Skipped, ...] = ()


def read_plan(path: Path) -> PlanFile:
    """Read and check a plan.

    Raises:
        UsageError: It cannot be read, is malformed or of another schema, or contradicts itself.
    """
    at = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the plan '{path}'", why=error.strerror or "") from error
    if len(data) > _MAX_BYTES:
        raise UsageError("the plan is too large", at=at, why=f"over {_MAX_BYTES:,} bytes")
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("schema")
        if version != SCHEMA:
            why = f"its schema is {version}, this splitc reads {SCHEMA}"
            raise UsageError("plan of another schema", at=at, why=why, hint="plan again")
        plan = msgspec.json.decode(data, type=PlanFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = "`splitc plan MODEL -o plan.json` writes one"
        raise UsageError("the plan is malformed", at=at, why=str(error), hint=hint) from error
    why = _why_not(plan)
    if why:
        raise UsageError("the plan contradicts itself", at=at, why=why)
    return plan


def write_plan(path: Path, plan: PlanFile) -> None:
    """Write a plan, whole or not at all.

    Raises:
        OSError: It cannot be written there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def refuse_other_model(plan: PlanFile, sha256: str, path: Path) -> None:
    """Raise where a plan is of another network than the one with this digest.

    Raises:
        UsageError: Says whose it is.
    """
    if plan.model.sha256 != sha256:
        why = f"it is of '{plan.model.name}', {plan.model.sha256[:12]}…, not {sha256[:12]}…"
        raise UsageError("the plan is of another model", at=str(path), why=why, hint="plan again")


def _why_not(plan: PlanFile) -> str:
    """What is wrong with a plan of the right form; "" where nothing is."""
    names = [route.name for route in plan.routes]
    if not 0 < len(names) <= _MOST_ROUTES or len({*names}) < len(names) or "" in names:
        return f"it has {len(names)} routes, which need names of their own, 1 to {_MOST_ROUTES}"
    for route in plan.routes:
        for name in (route.name, *route.cut):
            if not name.isprintable():
                return f"a name that cannot be printed: {name!a:.100}"
        if not route.cut or route.boundary_bytes < 0:
            return f"route '{route.name}' has no cut, or a boundary of fewer than 0 bytes"
    if not plan.conditions:
        return "it has no conditions"
    for place, one in enumerate(plan.conditions):
        why = _why_no_condition(one, names)
        if why:
            return f"condition {place}: {why}"
    keys = {(one.cpu, one.memory, one.bandwidth_bps) for one in plan.conditions}
    return "" if len(keys) == len(plan.conditions) else "it has the same condition twice"


def _why_no_condition(one: Condition, names: list[str]) -> str:
    for what, share in (("cpu", one.cpu), ("memory", one.memory)):
        if not 0 <= share < 1:
            return f"{what} {share:g} is not in [0, 1)"
    if not 0 < one.bandwidth_bps < math.inf:
        return f"a bandwidth of {one.bandwidth_bps:g} bits a second"
    for name, seconds in one.latency_s.items():
        if name not in names:
            return f"there is no route '{name}'; {nearest(name, names)}"
        if not 0 <= seconds < math.inf:
            return f"route '{name}' takes {seconds:g} s"
    return "" if one.route in names else f"there is no route '{one.route}'"
