# SPDX-License-Identifier: Apache-2.0
"""What options say as text, made values: sizes, shapes, links, limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from splitc.errors import UsageError, nearest

if TYPE_CHECKING:
    from splitc.cost.prices import Objective
    from splitc.link.link import Link
    from splitc.search.limits import Constraints
    from splitc.search.scenario import Side


def parse_input(text: str) -> tuple[str, tuple[int, ...]]:
    """`x:1x3x224x224` as name and shape; `x:scalar` has no extents.

    Raises:
        UsageError: It is malformed.
    """
    name, colon, dims = text.rpartition(":")
    if not colon or not name or not re.fullmatch(r"scalar|\d+(x\d+)*", dims):
        raise UsageError(f"'{text}' is no input shape", hint="write it like x:1x3x224x224")
    return name, () if dims == "scalar" else tuple(int(d) for d in dims.split("x"))


def parse_bytes(text: str) -> int:
    """Bytes from `64MB`, `1.5GiB`, `4096`.

    Raises:
        UsageError: It is no size, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?\s*", text)
    if match is None or len(text) > 30 or float(match[1]) <= 0:
        raise UsageError(f"'{text}' is no size", hint="write it like 64MB or 8GiB")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def parse_sizes(text: str, option: str = "--batch") -> tuple[int, ...]:
    """Batch sizes, or other whole numbers, from `1,2,4`.

    Raises:
        UsageError: They are no whole numbers.
    """
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        raise UsageError(f"{option} {text}", hint="whole numbers with commas: 1,2,4,8")
    return tuple(map(int, text.split(",")))


def parse_link(
    name: str | None,
    bandwidth: str | None,
    rtt: str | None,
    loss: str | None,
    mtu: int | None,
) -> Link:
    """The named link with the given figures changed; wifi where none is named.

    Raises:
        UsageError: An unknown name or a figure out of range.
    """
    from splitc.link.link import Link

    base = Link.named(name or "wifi")
    return Link(
        base.bandwidth_bps if bandwidth is None else bandwidth,
        rtt=base.rtt_s if rtt is None else rtt,
        loss=base.loss_rate if loss is None else loss,
        mtu=base.mtu_bytes if mtu is None else mtu,
    )


def parse_objective(text: str) -> Objective:
    """The objective of that name.

    Raises:
        UsageError: There is none.
    """
    from splitc.cost.prices import OBJECTIVES

    for objective in OBJECTIVES:
        if text == objective:
            return objective
    raise UsageError(f"there is no objective '{text}'", hint=nearest(text, OBJECTIVES))


def parse_constraints(
    memory: str | None, milliseconds: float | None, depth: int, crossing: str | None = None
) -> Constraints:
    """The limits a cut must keep.

    Raises:
        UsageError: A limit is malformed.
    """
    from splitc.search.limits import Constraints

    return Constraints(
        max_head_bytes=None if memory is None else parse_bytes(memory),
        max_head_s=None if milliseconds is None else milliseconds / 1e3,
        max_boundary_bytes=None if crossing is None else parse_bytes(crossing),
        min_depth=depth,
    )


def parse_pins(texts: Sequence[str]) -> dict[str, Side]:
    """Sides by layer from `LAYER=head` and `LAYER=tail`.

    Raises:
        UsageError: One is malformed, or a layer is named twice.
    """
    from splitc.search.scenario import HEAD, TAIL

    sides: dict[str, Side] = {HEAD: HEAD, TAIL: TAIL}
    found: dict[str, Side] = {}
    for text in texts:
        name, equals, given = text.rpartition("=")
        side = sides.get(given)
        if not equals or not name or side is None:
            hint = "write it like layer1=head or fc=tail"
            raise UsageError(f"'{text}' is no pin", hint=hint)
        if found.setdefault(name, side) != side:
            raise UsageError(f"'{name}' is pinned to the head and to the tail")
    return found
