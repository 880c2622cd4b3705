# SPDX-License-Identifier: Apache-2.0
"""The object that `splitc compile --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.build.backend import Kernel
from splitc.cli.objects import CheckObject, GatedObject, RowObject, TableObject
from splitc.runtime.codec_entry import CodecCost, QuantizedEntry
from splitc.runtime.manifest import Predicted, Route

if TYPE_CHECKING:
    from splitc.build.backend import Built


class RouteObject(msgspec.Struct, frozen=True, kw_only=True):
    """A route of a bundle: its parts by site, what crosses, and what it was predicted to take;
    `agreement` is the share of samples whose arg-max a codec leaves where it is."""

    name: str
    cut: tuple[str, ...]
    runs: dict[str, tuple[str, ...]]
    boundary_bytes: int
    predicted: Predicted
    codec: str | None
    agreement: float

    @staticmethod
    def of(route: Route) -> RouteObject:
        """A route of a manifest."""
        codec = route.codec
        return RouteObject(
            name=route.name, cut=route.cut, runs=route.runs,
            boundary_bytes=route.boundary_bytes, predicted=route.predicted,
            codec=codec.pipeline if codec else None,
            agreement=codec.cost.agreement if codec and codec.cost else 1.0,
        )  # fmt: skip


class CompileObject(GatedObject, frozen=True):
    """`splitc compile`: what was chosen and written; sizes and kernels by part; what
    quantising did and costs with `--precision int8`."""

    bundle: str
    packed: str | None
    chosen: RowObject
    table: TableObject
    bytes: dict[str, int]
    activation_bytes: dict[str, int]
    weight_bytes: dict[str, int]
    kernels: dict[str, tuple[Kernel, ...]]
    check: CheckObject | None
    routes: tuple[RouteObject, ...]
    codec_cost: CodecCost | None
    quantized: QuantizedEntry | None
    notes: tuple[str, ...]

    @staticmethod
    def sizes(parts: Mapping[str, Built]) -> dict[str, Any]:
        """What is known of built parts."""
        return {
            "activation_bytes": {name: one.activation_bytes for name, one in parts.items()},
            "weight_bytes": {name: one.weight_bytes for name, one in parts.items()},
            "kernels": {name: one.kernels for name, one in parts.items()},
        }
