# SPDX-License-Identifier: Apache-2.0
"""Times of layers out of the JSON that onnxruntime's own profiler writes."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

from splitc.cost.board import Board
from splitc.cost.profile import FREE, KernelTime, Profile, ProfileCost, read_bounded
from splitc.errors import UsageError, nearest
from splitc.ir.graph import Layer, LayerGraph

_ENDING = "_kernel_time"
_RUN = "model_run"
_OWN = ("ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost")
"""Operators that onnxruntime puts in: no layer's, so the time goes to the one that ran before,
as a view's does."""
_FUSED = re.compile(r"(?P<fused>fused )?(?P<name>.*?)(_token_\d+)?(?P<nchwc>_nchwc)?")
"""Names that its optimizers give, around those of a node or of the tensor that it makes."""
_JOINS = (
    "add", "relu", "clip", "sigmoid", "tanh", "leakyrelu", "hardsigmoid", "hardswish",
    "batchnormalization",
)  # fmt: skip
"""What they fuse into a convolution or product."""
_SHOWN = 4


class _Arguments(msgspec.Struct):
    op_name: str = ""


class _Event(msgspec.Struct):
    name: str = ""
    cat: str = ""
    dur: float = 0.0
    ts: float = 0.0
    args: _Arguments = msgspec.field(default_factory=_Arguments)


@dataclass(frozen=True)
class _Node:
    """One node as it ran: `ms` is the median over runs, the first left out where there are more."""

    name: str
    op: str
    ms: float


@dataclass(frozen=True)
class RuntimeCost:
    """Times of layers as onnxruntime measured them.

    A node that stands for several layers, as it does once a convolution took in what follows it,
    gives its time to them by their FLOPs. Layers that no node names are predicted for the board.

    Args:
        board: The machine that code is made for; power and memory are its.
        source: The file's name.
        nodes: In the order in which they ran.

    Raises:
        UsageError: When asked for a network of other layers.
    """

    board: Board
    source: str
    nodes: tuple[_Node, ...] = field(repr=False)

    @property
    def label(self) -> str:
        """Where the figures come from."""
        return f"measured by onnxruntime, says {self.source}"

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order."""
        return self.known(graph).seconds(graph)

    def known(self, graph: LayerGraph) -> ProfileCost:
        """The times that there are for a network's layers.

        Raises:
            UsageError: There are nodes that are no layers of it.
        """
        placed, named, strange = self._placed(graph)
        if strange:
            more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
            raise UsageError(
                f"'{self.source}' times nodes that the network has not",
                why=f"{', '.join(repr(name) for name in strange[:_SHOWN])}{more}",
                hint=nearest(strange[0], graph.index)
                or "profile with graph_optimization_level ORT_DISABLE_ALL",
            )
        kernels = [
            KernelTime(name=node.name, layers=_group(graph, layer, named, fused), ms=node.ms)
            for node, layer, fused in placed
        ]
        made = Profile.of_kernels(graph, kernels, machine=self.source, network="")
        told = {name for kernel in kernels for name in kernel.layers}
        layers = {name: ms for name, ms in made.layers.items() if name in told}
        return ProfileCost(self.board, msgspec.structs.replace(made, layers=layers))

    def _placed(
        self, graph: LayerGraph
    ) -> tuple[list[tuple[_Node, Layer, bool]], set[str], list[str]]:
        """Each node with its layer, and whether it may stand for more; all these; others."""
        placed: list[tuple[_Node, Layer, bool]] = []
        waiting: list[_Node] = []
        strange: list[str] = []
        for node in self.nodes:
            found = _layer(graph, node.name)
            if found is not None and found[0].kind not in FREE:
                placed.append((node, *found))
            elif found is None and node.op not in _OWN:
                strange.append(node.name)
            elif placed:
                placed.append((node, *placed[-1][1:]))
            else:
                waiting.append(node)
        placed += [(node, *placed[0][1:]) for node in waiting if placed]
        return placed, {layer.name for _, layer, _ in placed}, strange


def _layer(graph: LayerGraph, name: str) -> tuple[Layer, bool] | None:
    """The layer that a node is, and whether it was fused; None where it is none."""
    if name in graph.index:
        return graph.layer(name), False
    match = _FUSED.fullmatch(name)
    assert match is not None
    plain = match["name"]
    if plain in graph.index and match["fused"]:
        return graph.layer(plain), True
    if plain in graph.producer and match["nchwc"]:
        return graph.layers[graph.producer[plain]], True
    return None


def _group(graph: LayerGraph, layer: Layer, named: set[str], fused: bool) -> tuple[str, ...]:
    """The layers whose work a node does: its own, and those that were fused with it.

    These are named by no node of their own, and nothing else reads between them.
    """
    if not fused:
        return (layer.name,)
    found = {graph.index[layer.name]}
    todo = [*found]
    while todo:
        here = todo.pop()
        after = graph.successors[here]
        if len(after) == 1 and graph.layers[after[0]].op in _JOINS:
            todo += _new(graph, after[0], named, found)
        if graph.layers[here].op in _JOINS:
            for before in graph.predecessors[here]:
                if [*graph.successors[before]] == [here]:
                    todo += _new(graph, before, named, found)
    return tuple(graph.layers[i].name for i in sorted(found))


def _new(graph: LayerGraph, position: int, named: set[str], found: set[int]) -> list[int]:
    """That layer, now among those found, where it is one that no node names."""
    layer = graph.layers[position]
    if position in found or layer.name in named or layer.is_input:
        return []
    found.add(position)
    return [position]


def read_runtime_profile(path: str | Path, board: Board) -> RuntimeCost:
    """Times out of a file of `SessionOptions.enable_profiling`.

    Raises:
        UsageError: There is no such file, it is too large, or no such profile.
    """
    name = Path(path).name
    try:
        events = msgspec.json.decode(read_bounded(path), type=list[_Event])
    except (msgspec.MsgspecError, RecursionError) as error:
        why = f"a list of onnxruntime's events is wanted: {error}"
        raise UsageError(f"'{name}' is no profile", why=why) from error
    runs = sum(event.name == _RUN for event in events)
    took: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    events.sort(key=lambda event: event.ts)
    for event in events:
        if event.cat == "Node" and event.name.endswith(_ENDING):
            if not 0 <= event.dur <= 1e12:
                raise UsageError(f"'{name}' has no time {event.dur!r}", at=event.name[:80])
            took[event.name.removesuffix(_ENDING), event.args.op_name].append(event.dur / 1e3)
    if not took or not runs:
        why = "it has no run, or no node's time"
        raise UsageError(f"'{name}' is no profile of onnxruntime", why=why)
    nodes = (_Node(node, op, _one_run(times, runs)) for (node, op), times in took.items())
    return RuntimeCost(board, name, tuple(nodes))


def _one_run(times: list[float], runs: int) -> float:
    """Milliseconds of one run; those of a node in a loop are summed."""
    if len(times) != runs:
        return sum(times) / runs
    return median(times[1:] if runs > 2 else times)
