# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: a head, what crosses, a tail; of a bundle, or of a network that is cut."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from splitc.arrays import Array, Arrays
from splitc.build.describe import missing_at
from splitc.errors import UsageError
from splitc.ir.chain import channel_layers
from splitc.ir.cut import Cut
from splitc.ir.model import Network, Trainable
from splitc.passes.at_cut import Ready, codec_of, prepare, without_channels
from splitc.runtime.manifest import Missing, TensorSpec
from splitc.simulate.parts import BundleParts


@dataclass(frozen=True)
class Subject:
    """A split network.

    Args:
        name: What it is called beside others.
        cut: The head's last layers.
        codec: The passes around what crosses, as text; "" for none.
        trained_over: The channels that it was trained over, as text; "" for none.
        inputs: What a frame is.
        crosses: What goes over the link.
        missing: What stands for elements of it that did not arrive, for each tensor.
        head: What is known on the device of a frame, by tensor name.
        result: The network's first result, of what is known on the device and what arrived.
    """

    name: str
    cut: str
    codec: str
    trained_over: str
    inputs: tuple[TensorSpec, ...]
    crosses: tuple[TensorSpec, ...]
    missing: tuple[Missing, ...]
    head: Callable[[Arrays], Arrays]
    result: Callable[[Arrays, Sequence[Array]], Array]

    @property
    def boundary_bytes(self) -> int:
        """Bytes that cross a frame."""
        return sum(spec.bytes for spec in self.crosses)


def of_network(
    name: str, loaded: Network, *, cut: str = "", codec: str = "", batches: Sequence[Arrays] = ()
) -> Subject:
    """A network, by its own reference: nothing is compiled.

    Args:
        name: What to call it.
        loaded: The network; one that was fine-tuned is cut already.
        cut: Where to cut it: the head's last layers, commas between.
        codec: Passes to put there, as text.
        batches: Values to calibrate them with, arrays by input name.

    Raises:
        UsageError: It has no cut and none is given, or has one and another is.
        SplitcError: The cut is none, or the codec refuses what crosses.
    """
    ready = prepare(loaded, _cut(name, loaded, cut), codec_of(codec) if codec else None, batches)
    head, tail = ready.model.split(ready.cut)
    crosses = tuple(TensorSpec.of(tensor) for tensor in ready.cut.boundary)
    first = ready.model.graph.outputs[0]

    def known(frame: Arrays) -> Arrays:
        return {**frame, **head.run({t.name: frame[t.name] for t in head.graph.inputs})}

    def result(before: Arrays, arrived: Sequence[Array]) -> Array:
        if first in before:
            return before[first]
        came = dict(zip((spec.name for spec in crosses), arrived, strict=True))
        return tail.run({t.name: came[t.name] for t in tail.graph.inputs})[first]

    return Subject(
        name, ready.cut.name, ready.text, _channels(ready),
        tuple(TensorSpec.of(tensor) for tensor in loaded.graph.inputs), crosses,
        missing_at(ready, crosses), known, result,
    )  # fmt: skip


def _cut(name: str, loaded: Network, text: str) -> Cut:
    """Where a network is to be cut, in its graph without channels."""
    plain, own = without_channels(loaded.graph, loaded.cut)
    if own is not None and text:
        why = f"it is cut after {own.name}"
        raise UsageError(f"'{name}' has a cut", why=why, hint="leave --cut out")
    if own is not None:
        return own
    if not text:
        hint = "name the layer whose output crosses: --cut LAYER"
        raise UsageError(f"'{name}' has no cut", hint=hint)
    return Cut.after(plain, [word.strip() for word in text.split(",")])


def _channels(ready: Ready) -> str:
    noisy = ready.noisy
    if noisy is None or not isinstance(noisy, Trainable):
        return ""
    graph = noisy.graph
    return ", ".join(
        f"{graph.layer(each).op}({noisy.channel_settings(each)})" for each in channel_layers(graph)
    )


@contextmanager
def of_bundle(path: str | Path) -> Generator[tuple[Subject, ...]]:
    """A bundle's routes, with its parts loaded: for as long as the context is open.

    Raises:
        UsageError: There is no such folder.
        BadBundleError: A file is not the one that its manifest lists.
        ToolchainError: A part cannot run on this machine.
    """
    from splitc.bundle.bundle import Bundle

    manifest = Bundle.open(path).manifest
    name = Path(path).name
    with BundleParts.open(path) as parts:
        yield tuple(
            _of_route(f"{name} {route.name}" if len(manifest.routes) > 1 else name, parts, number)
            for number, route in enumerate(manifest.routes)
        )


def _of_route(name: str, parts: BundleParts, number: int) -> Subject:
    remote = next(one for one in parts.remotes if one.route == number)
    route = parts.routes[number]
    tail = parts.hosted.tails[number]
    first = (*remote.outputs, *(spec.name for spec in tail.results))[0]

    def result(before: Arrays, arrived: Sequence[Array]) -> Array:
        if first in before:
            return before[first]
        (made,) = tail.run([arrived])
        return dict(zip((spec.name for spec in tail.results), made, strict=True))[first]

    channels = route.codec.channels if route.codec else ()
    return Subject(
        name, ",".join(route.cut), route.codec.pipeline if route.codec else "",
        ", ".join(f"{one.op}({one.settings})" for one in channels), parts.inputs, remote.crosses,
        remote.missing, lambda frame: parts.head(remote, frame), result,
    )  # fmt: skip
