# SPDX-License-Identifier: Apache-2.0
"""What the kernels of a part are predicted to take, from what the network's layers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from splitc.build.backend import Kernel, own_layers
from splitc.build.part_job import PartJob
from splitc.cost.prices import BoardCost


def described(kernels: Sequence[Kernel], part: PartJob) -> tuple[Kernel, ...]:
    """Kernels named by the layers that the user's network has, with the time of those.

    A layer's time is that of the first kernel of most work that names it: others copy for it, or
    repack its weights when the part is loaded. So the times sum to what the table of cuts has
    for the part, but for layers that no kernel computes: a concatenation that is written in place.
    """
    graph = part.network.graph
    seconds = BoardCost(part.board).seconds(graph)
    took = [0.0] * len(kernels)
    owner: dict[str, int] = {}
    known = [own_layers(kernel.layers, graph.index) for kernel in kernels]
    for number, (kernel, names) in enumerate(zip(kernels, known, strict=True)):
        for name in names:
            before = owner.get(name)
            if before is None or kernel.flops > kernels[before].flops:
                owner[name] = number
    for name, number in owner.items():
        if name in graph.index:
            took[number] += seconds[graph.index[name]] * 1e3 * part.batch
    return tuple(
        replace(kernel, layers=names, predicted_ms=ms)
        for kernel, names, ms in zip(kernels, known, took, strict=True)
    )
