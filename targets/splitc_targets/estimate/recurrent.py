# SPDX-License-Identifier: Apache-2.0
"""What a recurrent layer takes: the product of its inputs, then steps that wait for one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from splitc.ir.graph import Layer, LayerGraph
from splitc_targets.estimate.loads import HEAVY_CYCLES, Load, direct
from splitc_targets.estimate.shapes import matrix, shape_of
from splitc_targets.kernels.recurrent.geometry import GATES, blocks, rows_at_once
from splitc_targets.machine.machine import Machine

ACTIVATIONS = {"lstm": 5, "gru": 3, "rnn": 1}
"""Exponentials and the like for each unit in a step."""


KEPT = 0.75
"""The share of L2 that holds weights from step to step."""

AWAKE = 0.25
"""What a loop costs whose threads still wait for work, of one that has to wake them."""


def recurrent_steps(kind: str, steps: int, batch: int, hidden: int, machine: Machine) -> Load:
    """All steps of one direction, its inputs' products known."""
    gates, lanes = GATES[kind], machine.lanes
    pieces = blocks(gates, hidden, machine)
    wide = gates * -(-hidden // lanes)
    rows = rows_at_once(gates, pieces[0].vectors, batch, machine)
    multiplied = wide * hidden * batch / machine.fma_per_cycle
    loaded = wide * hidden * -(-batch // rows) / machine.loads_per_cycle
    ended = ACTIVATIONS[kind] * HEAVY_CYCLES * 2.0 / machine.fma_per_cycle
    cycles = max(multiplied, loaded) + ended * -(-hidden // lanes) * batch
    shared = machine.shares(2 * batch * gates * hidden * hidden)
    cores = min(machine.cores, sum(piece.count for piece in pieces)) if shared else 1
    weights = 4.0 * wide * lanes * hidden
    again = weights / cores * (steps - 1)
    beyond = max(0.0, 1 - KEPT * machine.l2_bytes * cores / weights)
    near = weights / cores > machine.l1_bytes / 2
    return Load(
        cycles * steps / cores, again if near else 0.0, weight_bytes=weights,
        again_bytes=again * beyond,
        read_bytes=4 * steps * batch * gates * hidden, written_bytes=4 * steps * batch * hidden,
        cores=cores, loops=round(steps * AWAKE) if cores > 1 else 0,
    )  # fmt: skip


def recurrent_layer(graph: LayerGraph, layer: Layer, machine: Machine) -> Load | None:
    """A layer of any directions, or several upon one another; None where its sizes are not known.

    Its count of operations tells what the inputs' products are, of the first layer and of those
    that read states.
    """
    x = shape_of(graph.tensors[layer.inputs[0]]) if layer.inputs else None
    last = shape_of(layer.outputs[-1])
    if x is None or last is None or len(x) != 3 or len(last) not in (3, 4) or layer.op not in GATES:
        return None
    *_, batch, hidden = last
    ways = last[0] if len(last) == 3 else last[1]
    if 0 in (*x, *last):
        return None
    rows, gates = x[0] * x[1], GATES[layer.op]
    deep = layer.flops // (2 * rows * ways * gates * hidden) - hidden
    if deep < 1 or rows % batch:
        return None
    products = direct(matrix(1, rows, deep, gates * hidden), machine)
    return _together([products, recurrent_steps(layer.op, rows // batch, batch, hidden, machine)],
                     ways)  # fmt: skip


def _together(loads: Iterable[Load], times: int) -> Load:
    """Calls one after the other, all of them so many times."""
    parts = list(loads)
    total = {
        field.name: times * sum(getattr(part, field.name) for part in parts)
        for field in fields(Load)
    }
    return Load(**total | {"cores": max(part.cores for part in parts)})
