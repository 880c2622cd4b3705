# SPDX-License-Identifier: Apache-2.0
"""The door between the kernel and whatever writes a part's code."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from splitc.arrays import Array
from splitc.cost.board import Board
from splitc.cost.profile import KernelTime
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layout
from splitc.ir.model import Network
from splitc.plugins import find

EMIT = "tvm"
"""The backend that writes parts where none is named."""


@dataclass(frozen=True)
class Unsupported:
    """A layer that a backend cannot compile.

    Args:
        layer: Its name.
        op: Its operator.
        why: The reason.
    """

    layer: str
    op: str
    why: str


@dataclass(frozen=True)
class Kernel:
    """One compiled function of a part.

    Args:
        name: The function's name in the library.
        rule: The rule that wrote its loops; "fallback" where none fitted.
        op: What it computes, as in "conv2d+add+relu".
        shapes: Its shapes in words, as in "1x56x56x64 * 64x3x3x64 -> 1x56x56x64".
        flops: Floating-point operations of the mathematics, a multiply-add being 2.
        calls: How many times one inference calls it.
        tuned: How it computes, in words, where measurements decided that.
        weight_bytes: Constants that a call reads.
        tensor_bytes: Other tensors that a call reads, writes or works in.
        layers: The network's layers that it computes, or a share of, in the network's order.
        predicted_ms: What one inference's calls take on the board; 0 where it only copies, is
            called once, when the part is loaded, or nobody says.
    """

    name: str
    rule: str
    op: str
    shapes: str
    flops: int
    calls: int = 1
    tuned: str = ""
    weight_bytes: int = 0
    tensor_bytes: int = 0
    layers: tuple[str, ...] = ()
    predicted_ms: float = 0.0

    @property
    def fell_back(self) -> bool:
        """Whether its loops are slow ones, as no rule fitted."""
        return self.rule == "fallback"


def own_layers(layers: tuple[str, ...], network: Container[str]) -> tuple[str, ...]:
    """Those of a kernel's layers that a network has, where it has any.

    A part has others beside: what turns a tensor that crosses.
    """
    return tuple(name for name in layers if name in network) or layers


@dataclass(frozen=True)
class KernelCall:
    """One call of a compiled function, in a run of a part.

    Args:
        name: The function's name in the library.
        layers: The network's layers whose work it does, in the network's order.
    """

    name: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Shipped:
    """A piece of software that is in a part's files.

    Args:
        name: What it is called.
        version: Its release.
        licence: As an SPDX expression.
        purl: Its package URL, where it has one.
    """

    name: str
    version: str
    licence: str
    purl: str = ""


@dataclass(frozen=True)
class Built:
    """What a backend wrote into a part's folder.

    Args:
        model: File name of the compiled or converted model.
        format: What loads it: "native" for compiled code, "onnx" for a file of that kind.
        libraries: File names of the libraries it needs, in load order.
        runner: File name of the program that runs it; empty where there is none.
        tools: Tool versions that shaped the bytes.
        schedule: Name of the schedule that was used.
        caveat: What a user should know of the code's quality, in a sentence.
        kernels: The functions that one inference calls.
        activation_bytes: Memory planned for tensors between them.
        weight_bytes: Weights as the functions read them; 0 where that is not known.
        weights: File name of the constants; empty where they are in the model's file.
        file_bytes: Their bytes there.
        packed_bytes: Memory for what is made of them once, when the part is loaded.
        shipped: Whose software is in the files, besides the model.
        device_bytes: Memory of a graphics processor's that it takes; 0 where none computes it.
        unused: Features of the processor that the code turned out not to use, and that a machine
            would have to give it.
    """

    model: str
    format: str
    libraries: tuple[str, ...] = ()
    runner: str = ""
    tools: dict[str, str] = field(default_factory=dict[str, str])
    schedule: str = ""
    caveat: str = ""
    kernels: tuple[Kernel, ...] = ()
    activation_bytes: int = 0
    weight_bytes: int = 0
    weights: str = ""
    file_bytes: int = 0
    packed_bytes: int = 0
    shipped: tuple[Shipped, ...] = ()
    device_bytes: int = 0
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tuning:
    """A search for quicker kernels by measuring them, where the analytic choice need not do.

    Args:
        seconds: How long it may take, head and tail together.
        rpc: Address of the device that the head's kernels are measured on: HOST:PORT of a
            server, HOST:PORT,KEY of a tracker; empty for this machine.
        parts: Which parts are tuned.
    """

    seconds: float = 300.0
    rpc: str = ""
    parts: tuple[str, ...] = ("head", "tail")


@runtime_checkable
class Tuner(Protocol):
    """A backend that can measure its kernels."""

    def refuse_tuning(self, board: Board, rpc: str) -> None:
        """Raise where kernels for a board cannot be measured; asked before anything is compiled.

        Raises:
            UsageError: This machine does not run the board's code, and there is no address.
            DeviceError: Nothing answers at the address.
        """
        ...

    def tune(
        self, lowered: Any, board: Board, seconds: float, rpc: str, progress: Callable[[str], None]
    ) -> Any:
        """Measure what was not measured before; gives what `compile` takes for the part."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A backend that needs something to write for a board, and makes some of it the first time."""

    def require(self, board: Board) -> None:
        """Raise where a compiler that it needs for a board is missing; asked before anything else.

        Raises:
            ToolchainError: One is, or makes no code for the board.
        """
        ...

    def once(self, board: Board) -> str:
        """What that is and how long it takes, in a clause; "" where it is there already."""
        ...


@runtime_checkable
class Timing(Protocol):
    """A backend whose code can tell what each of its functions takes."""

    def compile_timed(self, lowered: Any, board: Board) -> tuple[Any, tuple[KernelCall, ...]]:
        """The code of a lowered part, as `compile` makes it, and the calls of one run.

        It gives one more result, the last: int64 [calls + 1, 2], the seconds and nanoseconds
        of a clock before the first call and behind each.
        """
        ...


@runtime_checkable
class RemoteTiming(Timing, Protocol):
    """A backend whose timed code can be run on a board that is not here."""

    def refuse_remote(self, address: str) -> None:
        """Raise where no board can be reached; asked before anything is compiled.

        Raises:
            UsageError: It is no address.
            ToolchainError: A package that this needs is missing.
            DeviceError: Nothing answers there.
        """
        ...

    def time_at(
        self, address: str, code: Any, board: Board, network: Network,
        *, seconds: float, threads: int,
    ) -> Array:  # fmt: skip
        """Seconds of each call in each run, [runs, calls], of timed code on a board.

        Raises:
            DeviceError: The board is gone, or does not run the code.
        """
        ...


@dataclass(frozen=True)
class Estimated:
    """What a board would take for a network's code.

    Args:
        kernels: The calls of one inference, in order.
        tools: Versions of what the times come from.
        least_ms: What it is where everything overlaps that may.
        calibrated: In words, the measured times that the board's figures are fitted to; ""
            where there are none.
    """

    kernels: tuple[KernelTime, ...]
    tools: dict[str, str]
    least_ms: float
    calibrated: str


@runtime_checkable
class Estimating(Protocol):
    """A backend that tells what a board would take from the code alone, no board at hand."""

    def refuse_estimate(self, board: Board) -> None:
        """Raise where it cannot for a board; asked before anything is compiled.

        Raises:
            UsageError: There is no model of such boards.
            ToolchainError: A program that it needs is not installed.
        """
        ...

    def estimate(
        self, code: Any, board: Board, network: Network, progress: Callable[[str], None]
    ) -> Estimated:
        """What the compiled code of a network would take.

        Raises:
            ToolchainError: A program that it needs fails.
        """
        ...


@runtime_checkable
class Warming(Protocol):
    """A backend that takes a while to be ready, whatever it will compile."""

    def warm_up(self) -> None:
        """Import what code is made with."""
        ...


class Backend(Protocol):
    """Writes the code of parts for boards; each part has one of its own.

    `name` is what `--emit` calls it. `compiles` says whether it makes code that a processor
    runs, so that a part for another machine has to be built for this one to be checked here;
    otherwise a part is a file that some runtime reads on any machine. `compile` and `write` are
    called in threads, for two parts at a time.
    """

    name: ClassVar[str]
    compiles: ClassVar[bool]

    def refuses(self, board: Board) -> str | None:
        """Why it writes nothing for a board, in a clause; None where it does."""
        ...

    def layout(self, tensor: Tensor, graph: LayerGraph) -> Layout:
        """How its code has a tensor that crosses between parts: so it crosses if both ends agree.

        Args:
            tensor: What crosses, as the model has it.
            graph: The network's layers.
        """
        ...

    def unsupported(self, model: Network) -> list[Unsupported]:
        """The layers it cannot compile; asked before any compilation starts."""
        ...

    def lower(self, model: Network) -> Any:
        """The part in the backend's own form, ready to be compiled for any board.

        Raises:
            UnsupportedOpError: It has an operator, or a form of one, that cannot be.
        """
        ...

    def compile(self, lowered: Any, board: Board, limit_bytes: int | None = None) -> Any:
        """The code of a lowered part for a board, in the backend's own form, not yet linked.

        `limit_bytes` is what weights and tensors may take together. Quicker code that takes
        more is left out; what breaks the limit even so is compiled as it is.
        """
        ...

    def write(self, code: Any, board: Board, folder: Path, *, runtime: bool) -> Built:
        """Link a part's code into a folder, with or without what runs it."""
        ...


def warm_up(emit: str) -> None:
    """Have backends ready, by what `--emit` calls them, while something else is waited for.

    Raises:
        UsageError: No pack brings one of them.
    """
    for name in emit.split(","):
        backend: Backend = find("backends", name.strip())()
        if isinstance(backend, Warming):
            backend.warm_up()


def backend_for(board: Board, name: str) -> Backend:
    """The backend of that name, which has to write code for the board.

    Raises:
        UsageError: No pack brings it, or it writes nothing for the board.
    """
    backend: Backend = find("backends", name)()
    why = backend.refuses(board)
    if why is not None:
        raise UsageError(f"--emit {name} writes nothing for {board.name}", why=why)
    return backend
