# SPDX-License-Identifier: Apache-2.0
"""How much each layer's output has to do with the right answer, in files that travel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from splitc.cost.profile import read_bounded
from splitc.errors import UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.scratch import write_whole
from splitc.search.enumerate import single_cuts

SCHEMA = 1


class Importance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The importance of each layer's output, averaged over samples.

    `layers` has it by the layer's name; `network` is its name, `samples` how many there were;
    `note` is for people.

    References:
        Cunico et al., "I-SPLIT: Deep Network Interpretability for Split Computing", ICPR 2022.
    """

    schema: int
    kind: Literal["splitc-importance"]
    network: str
    samples: Annotated[int, msgspec.Meta(ge=1)]
    layers: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1e30)]]
    note: str = ""

    def of(self, cut: Cut) -> float | None:
        """That of the one layer that a cut is after; None where it is not known."""
        return self.layers.get(cut.layers[0]) if len(cut.layers) == 1 else None

    def peaks(self, graph: LayerGraph) -> tuple[Cut, ...]:
        """The cuts right after a local maximum, of those after a layer that no edge passes by.

        What a layer hands on unchanged has the same importance: of a level stretch it is the
        first cut.
        """
        known = [(cut, value) for cut in single_cuts(graph) if (value := self.of(cut)) is not None]
        found: list[Cut] = []
        for k, (cut, value) in enumerate(known):
            before = known[k - 1][1] if k else -1.0
            behind = next((each for _, each in known[k + 1 :] if each != value), -1.0)
            if before < value > behind:
                found.append(cut)
        return tuple(found)


def read_importance(path: str | Path, graph: LayerGraph) -> Importance:
    """An importance out of its file.

    Args:
        path: The file.
        graph: The network that it is to be of.

    Raises:
        UsageError: There is no such file, it is too large, is none, or of another network.
    """
    if not Path(path).is_file():
        hint = "splitc importance MODEL --data DATA writes one"
        raise UsageError(f"there is no importance '{path}'", hint=hint)
    try:
        made = msgspec.json.decode(read_bounded(path), type=Importance)
    except msgspec.MsgspecError as error:
        raise UsageError(f"'{path}' is no importance of layers", why=str(error)) from error
    if made.schema != SCHEMA:
        raise UsageError(f"'{path}' has schema {made.schema}", why=f"{SCHEMA} can be read")
    if not any(cut.layers[0] in made.layers for cut in single_cuts(graph)):
        why = f"it knows none of its layers; it is of '{made.network}'"
        raise UsageError(f"'{path}' is of another network", why=why)
    return made


def write_importance(path: str | Path, made: Importance) -> None:
    """Write an importance.

    Raises:
        OutputError: It cannot be written.
    """
    write_whole(path, msgspec.json.format(msgspec.json.encode(made)) + b"\n")
