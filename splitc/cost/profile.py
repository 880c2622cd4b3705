# SPDX-License-Identifier: Apache-2.0
"""Times of layers that were measured, in files that travel: a cost model that needs no board's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from splitc.cost.board import Board
from splitc.cost.prices import BoardCost
from splitc.errors import UsageError, nearest
from splitc.ir.graph import Layer, LayerGraph
from splitc.scratch import write_whole

SCHEMA = 1
MAX_BYTES = 64 * 2**20
"""Of any file of times: that of a network of 100,000 layers has a third of it."""
FREE = ("view", "channel")
"""Kinds of layers that take no time."""
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a layer does: what its time is explained by, with no model file at hand.

    `kind` is the kind of layer, `flops` of one run; `read_bytes` and `write_bytes` are of the
    tensors that it reads and makes, `weight_bytes` of its weights.
    """

    kind: str
    flops: _Count = 0
    read_bytes: _Count = 0
    write_bytes: _Count = 0
    weight_bytes: _Count = 0

    @staticmethod
    def of(graph: LayerGraph, layer: Layer) -> Work:
        """That of a layer of a graph."""
        read = sum(graph.tensors[name].nbytes or 0 for name in dict.fromkeys(layer.inputs))
        return Work(
            kind=layer.kind, flops=layer.flops, read_bytes=read,
            write_bytes=sum(t.nbytes or 0 for t in layer.outputs), weight_bytes=layer.param_bytes,
        )  # fmt: skip


class KernelTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One call of a compiled function: the layers whose work it does, and what it takes.

    `ms` is of one inference, `spread_ms` the interquartile range of its measurements.
    """

    name: str
    layers: tuple[str, ...]
    ms: Milliseconds
    spread_ms: Milliseconds = 0.0


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The network run as it is, in turns with the code whose kernels were timed.

    `ms` is the median of `rounds`, `spread_ms` their interquartile range. `left_out` rounds do
    not count, as the machine ran another program meanwhile; `disturbed` says that it did so in
    those that count too, as hardly any were without. `load` is how many programs it ran in the
    mean of the minute before.
    """

    ms: Milliseconds
    spread_ms: Milliseconds
    rounds: _Count
    left_out: _Count = 0
    disturbed: bool = False
    threads: _Count
    load: Annotated[float, msgspec.Meta(ge=0)]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What each layer of a network takes on a machine.

    `layers` has milliseconds of one run by the layer's name. `machine` says in words what it was,
    `figures` whether they were measured there or predicted for it; `versions` of what they were
    got with, and `note`, are for people. `network` is its name; `work` what the layers do, by
    their names, for `splitc fit`; `kernels` are the calls of compiled code behind the times,
    where it was that, and `whole` what the network took in the same rounds.
    """

    schema: int
    kind: Literal["splitc-profile"]
    machine: str
    figures: Literal["measured", "predicted"] = "measured"
    network: str = ""
    layers: dict[str, Milliseconds]
    work: dict[str, Work] = {}
    kernels: tuple[KernelTime, ...] = ()
    whole: Whole | None = None
    versions: dict[str, str] = {}
    note: str = ""

    @staticmethod
    def of_kernels(
        graph: LayerGraph, kernels: Sequence[KernelTime], *, machine: str, network: str,
        figures: Literal["measured", "predicted"] = "measured",
        versions: Mapping[str, str] | None = None, note: str = "", whole: Whole | None = None,
    ) -> Profile:  # fmt: skip
        """A profile from times of kernels, of which each may do the work of several layers.

        A kernel's time is its layers' by their FLOPs, in equal shares where they have none.
        Layers of no kernel take nothing: they were folded into others' weights. What a kernel
        of views alone takes, which are free, is the next layer's.

        Args:
            graph: The network's layers, of which the kernels' are.
            kernels: All calls of one inference.
            machine: What it was, in words.
            network: The network's name.
            figures: Whether the times were measured there or predicted for it.
            versions: Of what the times were got with.
            note: For people.
            whole: What the network took.
        """
        layers = dict.fromkeys((each.name for each in graph.layers if _takes_time(each)), 0.0)
        for kernel in kernels:
            names = [name for name in kernel.layers if name in layers]
            names = names or _next_to(graph, kernel.layers, layers)
            flops = [graph.layer(name).flops for name in names]
            for name, own in zip(names, flops, strict=True):
                layers[name] += kernel.ms * (own / sum(flops) if any(flops) else 1 / len(names))
        return Profile(
            schema=SCHEMA, kind="splitc-profile", machine=machine, figures=figures,
            network=network, layers=layers, work=work_of(graph), kernels=tuple(kernels),
            whole=whole, versions=dict(versions or {}), note=note,
        )  # fmt: skip


def _takes_time(layer: Layer) -> bool:
    return not layer.is_input and layer.kind not in FREE


def _next_to(graph: LayerGraph, free: Sequence[str], paying: Collection[str]) -> list[str]:
    """The nearest layer behind free ones that takes time, or else before them; none at worst."""
    inside = [graph.index[name] for name in free if name in graph.index]
    for near in (_readers, _read):
        todo, seen = list(inside), set(inside)
        while todo:
            here = todo.pop(0)
            if graph.layers[here].name in paying:
                return [graph.layers[here].name]
            found = [at for at in near(graph, here) if at not in seen]
            todo += found
            seen.update(found)
    return []


def _readers(graph: LayerGraph, at: int) -> list[int]:
    return [r for tensor in graph.layers[at].outputs for r in graph.readers[tensor.name]]


def _read(graph: LayerGraph, at: int) -> list[int]:
    return [graph.producer[name] for name in graph.layers[at].inputs]


def work_of(graph: LayerGraph) -> dict[str, Work]:
    """What each layer that takes time does, by its name."""
    return {layer.name: Work.of(graph, layer) for layer in graph.layers if _takes_time(layer)}


def of_network(profile: Profile, graph: LayerGraph, network: str) -> Profile:
    """A profile that has the name of its network, and says what its layers do.

    Raises:
        UsageError: It has a layer that the network has not.
    """
    work = work_of(graph)
    for name in profile.layers:
        if name not in graph.index:
            raise _of_another(profile, name, graph)
    kept = {name: ms for name, ms in profile.layers.items() if name in work}
    return msgspec.structs.replace(profile, network=network, layers=kept, work=work)


def _of_another(profile: Profile, layer: str, graph: LayerGraph) -> UsageError:
    return UsageError(
        f"the profile of {profile.machine} is of another network",
        why=f"it has a layer '{layer}'", hint=nearest(layer, graph.index),
    )  # fmt: skip


def read_profile(path: str | Path) -> Profile:
    """A profile out of its file.

    Raises:
        UsageError: There is no such file, it is too large, or no profile; says where.
    """
    text = read_bounded(path)
    try:
        made = msgspec.json.decode(text, type=Profile)
    except (msgspec.MsgspecError, RecursionError) as error:
        hint = '{"schema":1,"kind":"splitc-profile","machine":"...","layers":{"conv1":2.5}}'
        raise UsageError(f"'{path}' is no profile", why=str(error), hint=f"like {hint}") from error
    if made.schema != SCHEMA:
        raise UsageError(f"'{path}' has schema {made.schema}", why=f"{SCHEMA} can be read")
    return made


def read_bounded(path: str | Path) -> bytes:
    """The bytes of a file of times.

    Raises:
        UsageError: There is no such file, or it is too large.
    """
    given = Path(path)
    if not given.is_file():
        raise UsageError(f"there is no profile '{path}'")
    with given.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise UsageError(f"'{path}' is no profile", why=f"it has more than {MAX_BYTES:,} bytes")
    return text


def write_profile(path: str | Path, profile: Profile) -> None:
    """Write a profile, a layer a line.

    Raises:
        OutputError: It cannot be written.
    """
    write_whole(path, msgspec.json.format(msgspec.json.encode(profile)) + b"\n")


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
            raise _of_another(self.profile, strange, graph)
        predicted = BoardCost(self.board).seconds(graph)
        return tuple(
            0.0 if layer.is_input or layer.kind in FREE
            else known[layer.name] / 1e3 if layer.name in known
            else guess
            for layer, guess in zip(graph.layers, predicted, strict=True)
        )  # fmt: skip
