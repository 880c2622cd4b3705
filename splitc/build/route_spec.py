# SPDX-License-Identifier: Apache-2.0
"""The routes that a bundle is asked to have: each a cut, and a codec at it or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splitc.cost.topology import SERVER
from splitc.errors import UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.passes.at_cut import codec_of
from splitc.passes.base import Pipeline
from splitc.search.plan_file import PlanFile, read_plan, refuse_other_model
from splitc.search.untrained import BITS

TUNED = ".tuned"
"""What the name of a folder ends in that fine-tuning left."""

_LONGEST_NAME = 64
_MOST_ROUTES = 256


@dataclass(frozen=True)
class RouteSpec:
    """One route, as it is asked for.

    Args:
        cut: The head's last layers: names, or one text with `+` between them.
        codec: Passes that stand at the cut, as text; or a folder that `splitc finetune` left,
            NAME.tuned, whose trained encoder and decoder do; "" for none.
        name: What the route is called; by default after the cut and the codec.
    """

    cut: str | tuple[str, ...]
    codec: str = ""
    name: str = ""

    def cut_in(self, graph: LayerGraph) -> Cut:
        """The cut in a network.

        Raises:
            UsageError: A layer is unknown; the hint lists the nearest.
        """
        if isinstance(self.cut, tuple):
            return Cut.after(graph, self.cut)
        known = self.cut in graph.index
        return Cut.after(graph, [self.cut] if known else [n.strip() for n in self.cut.split("+")])

    @property
    def folder(self) -> Path | None:
        """Where a trained codec lies; None where the codec is passes or none."""
        return Path(self.codec) if self.codec.endswith(TUNED) else None

    def pipeline(self) -> Pipeline | None:
        """The passes; None where there are none.

        Raises:
            UsageError: Unknown passes, or none that takes a cut.
        """
        return codec_of(self.codec) if self.codec and self.folder is None else None


def check_widths(bits: Sequence[int]) -> None:
    """Raise where widths in bits are none.

    Raises:
        UsageError: One is not in 1 to 16, or there twice.
    """
    if len({*bits}) < len(bits) or not all(1 <= each <= 16 for each in bits):
        hint = "whole numbers from 1 to 16, each once: 8,4"
        raise UsageError(f"bits {','.join(map(str, bits))}", hint=hint)


def asked_routes(
    cuts: Sequence[str | RouteSpec], bits: Sequence[int], codec: Pipeline | None
) -> tuple[RouteSpec, ...]:
    """One route for each cut, and for a cut without a codec of its own one for each precision.

    Args:
        cuts: The cuts, or whole routes.
        bits: Widths to send what crosses in, besides the model's own.
        codec: One more to put at each.

    Raises:
        UsageError: A width is not in 1 to 16, or there twice.
    """
    check_widths(bits)
    codecs = [f"{BITS}(bits={each})" for each in bits]
    codecs += [] if codec is None else [str(codec)]
    found: list[RouteSpec] = []
    for one in (RouteSpec(cut) if isinstance(cut, str) else cut for cut in cuts):
        beside = [] if one.codec else codecs
        found += [one, *(RouteSpec(one.cut, each) for each in beside)]
    if len(found) > _MOST_ROUTES:
        raise UsageError(f"{len(found)} routes", why=f"a bundle has {_MOST_ROUTES} at most")
    return tuple(found)


def planned_routes(
    plan: PlanFile | str | Path, sha256: str, codec: Pipeline | None
) -> tuple[RouteSpec, ...]:
    """The routes of a plan.

    Args:
        plan: It, or where it lies.
        sha256: Digest of the network that it has to be of.
        codec: What is asked for beside it, which is refused.

    Raises:
        UsageError: It cannot be read, or is of another network; or there is a codec.
    """
    if codec is not None:
        raise UsageError("a plan, and a codec beside it", hint="the plan says which codecs")
    path = Path("the plan") if isinstance(plan, PlanFile) else Path(plan)
    read = plan if isinstance(plan, PlanFile) else read_plan(path)
    refuse_other_model(read, sha256, path)
    return tuple(RouteSpec(one.cut, one.codec, one.name) for one in read.routes)


def route_name(cut: Cut, spec: RouteSpec, number: int) -> str:
    """What a route is called where nobody says: its cut, and behind a colon its codec.

    Args:
        cut: Where it cuts.
        spec: The route.
        number: Its cut's number, which stands for layer names that are too long.
    """
    name = "+".join(cut.layers) if cut.is_proper else SERVER
    short = name if len(name) <= _LONGEST_NAME and name.isprintable() else f"cut{number}"
    if spec.folder is not None:
        return f"{short}:{spec.folder.stem}"
    codec = spec.pipeline()
    if codec is None:
        return short
    passes = [
        f"{one.options()['bits']}bit" if one.name == BITS else one.name for one in codec.passes
    ]
    return f"{short}:{'+'.join(passes)}"
