# SPDX-License-Identifier: Apache-2.0
"""A trained encoder and decoder as one route of several: what `splitc finetune` left of a codec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.bundle.samples import seeded_inputs
from splitc.errors import BadModelError, IllegalCutError, UsageError
from splitc.frontend import load
from splitc.ir.cut import Cut
from splitc.ir.model import Network
from splitc.ir.segment import codec_segments, segments
from splitc.passes.at_cut import Ready, prepare, without_channels

_NEAR = 1e-4
"""Relative: what two frameworks' kernels of the same weights are apart at most, and less than
one step of training moves them."""


def trained_at(folder: Path, trunk: Network, at: Cut) -> Ready:
    """A fine-tuned network, whose codec at a cut is all that it has besides the given one.

    Args:
        folder: What `splitc finetune` left.
        trunk: The given one, without channels.
        at: The cut of that graph that its codec stands at.

    Raises:
        UsageError: It is of a network with other weights, or those around the codec were
            trained too.
        IllegalCutError: Its codec does not stand at the cut, or its layers are other ones.
        SplitcError: See `splitc.load`.
    """
    model = load(folder)
    _, own = without_channels(model.graph, model.cut)
    if own is None:
        raise IllegalCutError(f"'{folder}' has no cut")
    ready = prepare(model, own, None)
    moved = _moved(ready, trunk, at)
    if moved:
        raise UsageError(
            f"'{folder}' cannot be one route of several",
            why=f"its '{moved}' is another one: other weights than the codec's were trained",
            hint="train the codec alone, or compile the folder as a bundle of its own",
        )
    return ready


def _moved(ready: Ready, trunk: Network, at: Cut) -> str:
    """What the layers around a codec make that those of the given network do not; "" if nothing.

    The same layers of both are run on the same values.
    """
    _, decoder = codec_segments(at, ready.cut, ("encoder", "decoder"))
    head, tail = segments(trunk.graph, [at])
    feed = seeded_inputs(trunk.graph.inputs, 0, trunk.index_extents, trunk.settled)
    (tensor,), (restored,) = at.boundary, decoder.sends
    try:
        given = trunk.extract(head).run(feed)
        apart = _apart(given, ready.model.extract(head).run(feed))
        known = {tensor.name: given[tensor.name]}
        behind = replace(tail, reads=decoder.sends)
        made = ready.model.extract(behind).run({restored.name: given[tensor.name]})
        return apart or _apart(trunk.extract(tail).run(known), made)
    except BadModelError as error:
        raise UsageError("the weights cannot be compared", why=error.what) from error


def _apart(given: dict[str, Array], made: dict[str, Array]) -> str:
    for name, array in given.items():
        most = float(np.abs(array).max(initial=0.0)) or 1.0
        if float(np.abs(made[name].astype(np.float64) - array).max(initial=0.0)) > _NEAR * most:
            return name
    return ""
