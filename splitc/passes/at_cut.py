# SPDX-License-Identifier: Apache-2.0
"""Codecs: passes put at a cut, and the model that is compiled: codec inside, channels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from splitc.errors import IllegalCutError, PassError, SplitcError, UsageError
from splitc.ir.chain import bypass_layers, channel_layers
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Model, Network, Trainable
from splitc.passes.base import Pass, Pipeline, blaming

if TYPE_CHECKING:
    from splitc.arrays import Arrays

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Ready:
    """A model at a cut, ready to be split and compiled.

    Args:
        model: What is compiled: the codec inside, channels taken out.
        cut: Where, on its graph.
        noisy: The same with its channels; None where it has none.
        text: The passes that put the codec in; empty where there is none that is known.
        notes: What a user should know.
    """

    model: Network
    cut: Cut
    noisy: Network | None = None
    text: str = ""
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """The channel layers that are passed by, in order."""
        return () if self.noisy is None else channel_layers(self.noisy.graph)


def codec_of(given: Pass | Pipeline | str | None) -> Pipeline | None:
    """A codec as a pipeline whose passes take the cut of the model they are given.

    Raises:
        UsageError: Unknown passes or options, none at all, one that takes no cut, or one
            that names a cut: where the codec stands is the cut search's to say.
    """
    if given is None:
        return None
    codec = Pipeline.parse(given) if isinstance(given, str) else given
    codec = Pipeline((codec,)) if isinstance(codec, Pass) else codec
    if not codec.passes:
        raise UsageError("the codec has no passes", hint="`splitc passes` lists them")
    for one in codec:
        options = one.options()
        if "cut" not in options:
            raise UsageError(f"'{one.name}' is no codec", why="it changes nothing at a cut")
        if options["cut"]:
            hint = f"leave it out, and cut there: --cut {options['cut']}"
            raise UsageError(f"the codec '{one.name}' names a cut", hint=hint)
    return codec


def encode(
    model: M, cut: Cut, codec: Pipeline, batches: Sequence[Arrays] | None = ()
) -> tuple[M, Pipeline]:
    """A model with a codec around the tensor that crosses a cut, cut at the codec's boundary.

    Args:
        model: Any model.
        cut: A cut of its graph that one tensor crosses.
        codec: What `codec_of` gives.
        batches: Values to calibrate it with, arrays by input name. None in their place is for
            prices alone, which no measured value changes.

    Returns:
        The model, and the passes as they were applied.

    Raises:
        UsageError: A pass has to be calibrated, and there is nothing to do it with.
        SplitcError: The codec refuses this tensor.
    """
    if len(cut.boundary) != 1:
        why = f"{len(cut.boundary)} tensors cross, a codec takes one"
        raise IllegalCutError(f"cannot put a codec after '{cut.name}'", why=why)
    made = model.with_cut(cut)
    held = {cut.graph.layers[i].name for i in cut.head}
    applied: list[Pass] = []
    for one in codec:
        with blaming(one.name):
            ready = one.calibrated(made, batches or None)
            if batches is not None and not batches and ready != one:
                hint = "give sample inputs, --calibrate FILE.npz, or its options: " + _open(one)
                raise UsageError("it has to know which values cross", hint=hint)
        made = ready(made)
        if made.cut is None:
            raise PassError(f"'{one.name}' left the model without a cut")
        made = made.with_cut(_still_holding(made.cut, held))
        applied.append(ready)
    return made, Pipeline(tuple(applied))


def _open(one: Pass) -> str:
    return ", ".join(name for name, value in one.options().items() if value is None)


def _still_holding(cut: Cut, names: set[str]) -> Cut:
    """A cut with the layers of the head before that read nothing of the tail: early results."""
    graph, head = cut.graph, set(cut.head)
    for i, layer in enumerate(graph.layers):
        if layer.name in names and head.issuperset(graph.predecessors[i]):
            head.add(i)
    return Cut.of(graph, head)


def why_refused(error: SplitcError) -> str:
    """A codec's error as one clause for the cut table."""
    name, colon, what = error.what.partition(": ")
    said = error.why if isinstance(error, IllegalCutError) and error.why else what or name
    return f"{name}: {said}" if colon else said


def recut(cut: Cut, graph: LayerGraph) -> Cut:
    """A cut in the graph of the same network with other channels: the same head otherwise."""
    held = (cut.graph.layers[i].name for i in cut.head)
    return Cut.after(graph, [name for name in held if name in graph.index])


def without_channels(graph: LayerGraph, cut: Cut | None) -> tuple[LayerGraph, Cut | None]:
    """A graph without its channel layers, and the cut that it has there."""
    names = channel_layers(graph)
    if not names:
        return graph, cut
    plain = bypass_layers(graph, names)
    return plain, None if cut is None else recut(cut, plain)


def prepare(
    loaded: Network, cut: Cut, codec: Pipeline | None, batches: Sequence[Arrays] = ()
) -> Ready:
    """Put a codec in a model, where one is wanted, and take channels out.

    Args:
        loaded: The model as it was read, perhaps with channels.
        cut: A cut of its graph without channels.
        codec: What to put there.
        batches: Values to calibrate it with.

    Raises:
        SplitcError: The codec refuses the tensor that crosses.
    """
    made = loaded.with_cut(recut(cut, loaded.graph))
    text = loaded.codec if isinstance(loaded, Trainable) else ""
    notes: tuple[str, ...] = ()
    if codec is not None:
        made, applied = encode(made, recut(cut, made.graph), codec, batches)
        text = ", ".join(filter(None, (text, str(applied))))
        notes = _untrained(loaded, made)
    assert made.cut is not None
    names = channel_layers(made.graph)
    if not names:
        return Ready(made, made.cut, None, text, notes)
    plain = made.bypass(names)
    return Ready(plain, recut(made.cut, plain.graph), made, text, notes)


def _untrained(before: Network, after: Network) -> tuple[str, ...]:
    if not isinstance(after, Trainable) or not after.parameters_beyond(before):
        return ()
    return (
        "the codec's weights are untrained, so the results mean nothing yet: "
        "train them with splitc finetune and compile what it writes",
    )
