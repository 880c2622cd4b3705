# SPDX-License-Identifier: Apache-2.0
"""Times of layers that were measured, in files that travel: a cost model that needs no board's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from splitc.cost.board import Board
from splitc.cost.prices import BoardCost
from splitc.errors import UsageError, nearest
from splitc.ir.graph import LayerGraph

SCHEMA = 1
_MAX_BYTES = 64 * 2**20
_FREE = ("view", "channel")
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What each layer of a network takes on a machine.

    `layers` has milliseconds of one run by the layer's name. `machine` says in words what it was,
    `figures` whether they were measured there or predicted for it; `versions` of what they were
    got with, and `note`, are for people.
    """

    schema: int
    kind: Literal["splitc-profile"]
    machine: str
    figures: Literal["measured", "predicted"] = "measured"
    layers: dict[str, _Milliseconds]
    versions: dict[str, str] = {}
    note: str = ""


def read_profile(path: str | Path) -> Profile:
    """A profile out of its file.

    Raises:
        UsageError: There is no such file, it is too large, or no profile; says where.
    """
    given = Path(path)
    if not given.is_file():
        raise UsageError(f"there is no profile '{path}'")
    with given.open("rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise UsageError(f"'{path}' is no profile", why=f"it has more than {_MAX_BYTES:,} bytes")
    try:
        made = msgspec.json.decode(text, type=Profile)
    except msgspec.MsgspecError as error:
        hint = '{"schema":1,"kind":"splitc-profile","machine":"...","layers":{"conv1":2.5}}'
        raise UsageError(f"'{path}' is no profile", why=str(error), hint=f"like {hint}") from error
    if made.schema != SCHEMA:
        raise UsageError(f"'{path}' has schema {made.schema}", why=f"{SCHEMA} can be read")
    return made


def write_profile(path: str | Path, profile: Profile) -> None:
    """Write a profile, a layer a line."""
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(profile)) + b"\n")


@dataclass(frozen=True)
class ProfileCost:
    """Times of layers from a profile.

    Layers that the profile does not know are predicted for the board: what a pass put in, say.
    Views, inputs and channels are free.

    Args:
        board: The machine that code is made for; power and memory are its.
        profile: What was measured.

    Raises:
        UsageError: When asked for a network without a layer that the profile knows.
    """

    board: Board
    profile: Profile = field(repr=False)

    @property
    def label(self) -> str:
        """Where the figures come from."""
        return f"{self.profile.figures} on {self.profile.machine}"

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order."""
        known = self.profile.layers
        strange = next((name for name in known if name not in graph.index), None)
        if strange is not None:
            raise UsageError(
                f"the profile of {self.profile.machine} is of another network",
                why=f"it has a layer '{strange}'", hint=nearest(strange, graph.index),
            )  # fmt: skip
        predicted = BoardCost(self.board).seconds(graph)
        return tuple(
            0.0 if layer.is_input or layer.kind in _FREE
            else known[layer.name] / 1e3 if layer.name in known
            else guess
            for layer, guess in zip(graph.layers, predicted, strict=True)
        )  # fmt: skip
