# SPDX-License-Identifier: Apache-2.0
"""The backend `tvm`: head and tail as shared libraries with a runner beside them.

TVM takes seconds to import. What can be compiled is asked of tables, by verbs that compile
nothing too; so it is imported where code is made.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from splitc.arrays import Array
from splitc.build.backend import Built, Estimated, KernelCall, Unsupported
from splitc.build.refusals import elsewhere
from splitc.bundle.samples import seeded_inputs
from splitc.cost.board import Board, Gpu
from splitc.errors import UnsupportedOpError, UsageError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layout, layout_of_maps
from splitc.ir.model import Network
from splitc.scratch import require_room
from splitc_targets.kernels.product.tile_plan import RULES
from splitc_targets.link.licences import install_licences
from splitc_targets.link.toolchain import (
    LIBRARY,
    RUNNER,
    install_runtime,
    link_model,
    runtime_is_built,
    zig_version,
)
from splitc_targets.machine.core import core_of
from splitc_targets.machine.platform import why_no_code, why_no_gpu_code
from splitc_targets.source import check
from splitc_targets.source.fixed_shapes import shapeless
from splitc_targets.source.small_types import computed_small

if TYPE_CHECKING:
    from splitc_targets import pipeline
    from splitc_targets.gpu.pipeline import GpuCode
    from splitc_targets.tuning.database import Tuned
    from splitc_targets.tvm import adapter


WEIGHTS = "weights.bin"


@dataclass(frozen=True)
class TvmBackend:
    """Lower to Relax, schedule, build, link with zig."""

    name: ClassVar[str] = "tvm"
    compiles: ClassVar[bool] = True

    def refuses(self, board: Board) -> str | None:
        """No other ISA, system or GPU: code is made for every processor whose core is known.

        Raises:
            UsageError: It is not; the hint has the nearest name.
        """
        why = why_no_code(board.processor)
        if isinstance(board.unit, Gpu):
            return why or why_no_gpu_code(board.unit)
        if why is None:
            core_of(board)
        return why

    def layout(self, tensor: Tensor, graph: LayerGraph) -> Layout:
        """Maps lie channels-last in its code."""
        return layout_of_maps(tensor, graph)

    def unsupported(self, model: Network) -> list[Unsupported]:
        """Layers whose operator TVM's front end does not know, or knows in part."""
        if not isinstance(model, OnnxModel):
            from splitc_targets.tvm import from_torch

            return from_torch.unsupported(model)
        found = [*shapeless(model), *computed_small(model)]
        named = {each.layer for each in found}
        table = check.unsupported(model)
        return found + [each for each in table if each.layer not in named]

    def lower(self, model: Network) -> adapter.Module:
        """The part as a Relax module, weights as constants.

        Raises:
            UnsupportedOpError: TVM's front end refuses an operator's form.
        """
        from splitc_targets.tvm import adapter
        from splitc_targets.tvm.layer_names import with_layers

        if not isinstance(model, OnnxModel):
            from splitc_targets.tvm import from_torch

            lowered = from_torch.lower(model)
        else:
            lowered = adapter.lower(model.proto, model.tensors)
        layers = {layer.name: layer.op for layer in model.graph.layers}
        return with_layers(_checked(lowered, adapter.results(lowered), model), layers)

    def warm_up(self) -> None:
        """Import TVM and what writes loops."""
        from splitc_targets.tvm import adapter  # pyright: ignore[reportUnusedImport] # noqa: F401

        from splitc_targets import pipeline  # pyright: ignore[reportUnusedImport] # isort: skip # noqa: F401

    def require(self, board: Board) -> None:
        """NVIDIA's compiler for its GPUs; zig is asked for where it is used.

        Raises:
            ToolchainError: It is not installed, or makes no code for the GPU.
        """
        if isinstance(board.unit, Gpu) and board.unit.api == "cuda":
            from splitc_targets.gpu import cuda

            cuda.require(board.unit.arch)

    def once(self, board: Board) -> str:
        """The runner is built at the first compile for an instruction set."""
        isa, glibc = board.processor.isa, board.processor.glibc
        if runtime_is_built(isa, glibc):
            return ""
        return f"building the runner for {isa} first, once, about half a minute"

    def refuse_tuning(self, board: Board, rpc: str) -> None:
        """Raise where kernels for a board cannot be measured.

        Raises:
            UsageError: This machine does not run the board's code, and there is no address.
            ToolchainError: A package that measuring needs is missing.
            DeviceError: Nothing answers at the address.
        """
        from splitc_targets.tuning import tuner

        tuner.refuse(board, rpc)

    def tune(
        self, lowered: Any, board: Board, seconds: float, rpc: str, progress: Callable[[str], None]
    ) -> Tuned:
        """Measure what the database of the board's target lacks.

        Raises:
            DeviceError: No kernel could be measured.
            ToolchainError: The database cannot be written.
        """
        from splitc_targets.tuning import tuner

        return tuner.tune(lowered, board, seconds, rpc, progress)

    def refuse_remote(self, address: str) -> None:
        """Raise where no board that runs TVM's RPC server can be reached.

        Raises:
            UsageError: It is no address.
            ToolchainError: A package that TVM's runners need is missing.
            DeviceError: Nothing answers there.
        """
        from splitc_targets.tuning import measure

        measure.refuse(address)

    def time_at(
        self, address: str, code: pipeline.Code, board: Board, network: Network,
        *, seconds: float, threads: int,
    ) -> Array:  # fmt: skip
        """Run timed code on a board by TVM's RPC.

        Raises:
            DeviceError: The board is gone, or does not run the code.
        """
        from splitc_targets.tuning.measure import Address
        from splitc_targets.tuning.remote import times_at

        return times_at(
            Address.parse(address), code, board, seeded_arrays(network),
            seconds=seconds, threads=threads,
        )  # fmt: skip

    def refuse_estimate(self, board: Board) -> None:
        """Raise where there is no model of a board's core, or a program is missing.

        Raises:
            UsageError: It is no 64-bit ARM board.
            ToolchainError: llvm-mca, qemu or its C library is not installed.
        """
        from splitc_targets.emitted import estimate

        estimate.refuse(board)

    def estimate(
        self, code: pipeline.Code, board: Board, network: Network, progress: Callable[[str], None]
    ) -> Estimated:
        """What a board would take: emitted blocks, counted under qemu, priced by llvm-mca.

        Raises:
            ToolchainError: One of them fails.
        """
        from splitc_targets.emitted import estimate

        return estimate.estimate(code, network.graph, board, seeded_arrays(network), progress)

    def compile(self, lowered: Any, board: Board, limit_bytes: int | None = None) -> Any:
        """Schedule and compile; without Winograd where its weights would break the limit.

        Returns:
            A `pipeline.Code`, or a `gpu.pipeline.GpuCode` for a graphics processor.

        Raises:
            UnsupportedOpError: The code would call what the shipped runtime does not have.
        """
        if not isinstance(board.unit, Gpu):
            return self._compiled(lowered, board, limit_bytes, timed=False)
        from splitc_targets.gpu.pipeline import compile_module

        with _refusing(lowered):
            return compile_module(lowered, board)

    def compile_timed(
        self, lowered: Any, board: Board
    ) -> tuple[pipeline.Code, tuple[KernelCall, ...]]:
        """The same, with one more result: when each function began.

        Raises:
            UnsupportedOpError: As above.
            UsageError: The board's unit is a graphics processor.
        """
        if isinstance(board.unit, Gpu):
            what = f"the kernels of {board.name} cannot be timed one by one"
            raise UsageError(what, hint="splitc bench times the whole part")
        code = self._compiled(lowered, board, None, timed=True)
        return code, code.calls

    def _compiled(
        self, lowered: Any, board: Board, limit_bytes: int | None, *, timed: bool
    ) -> pipeline.Code:
        from splitc_targets import pipeline
        from splitc_targets.tuning.database import Tuned

        choices = pipeline.ANALYTIC
        if isinstance(lowered, Tuned):
            lowered, choices = lowered.lowered, lowered.database
        limits = [n for n in (limit_bytes, board.memory_bytes) if n is not None]
        with _refusing(lowered):
            return pipeline.compile_module(lowered, board, choices, min(limits), timed=timed)

    def write(
        self, code: pipeline.Code | GpuCode, board: Board, folder: Path, *, runtime: bool
    ) -> Built:
        """Write model.so, and with `runtime` what runs it."""
        if isinstance(board.unit, Gpu):
            from splitc_targets.gpu import part

            return part.write(cast("GpuCode", code), board, folder, _caveat(code), runtime=runtime)
        code = cast("pipeline.Code", code)
        from splitc_targets import pipeline
        from splitc_targets.tvm import adapter

        require_room(folder, code.weights.bytes)
        adapter.export(
            code.library, folder / "model.so", lambda out, objects: link_model(board, out, objects)
        )
        if code.weights.bytes:
            code.weights.write(folder / WEIGHTS)
        tools = {
            "apache-tvm": adapter.version(), "llvm": adapter.llvm_version(), "zig": zig_version(),
        }  # fmt: skip
        built = Built(
            "model.so", "native", tools=tools, schedule=pipeline.NAME, caveat=_caveat(code),
            kernels=code.kernels, activation_bytes=code.activation_bytes,
            weight_bytes=code.constant_bytes, weights=WEIGHTS if code.weights.bytes else "",
            file_bytes=code.weights.bytes, packed_bytes=code.packed_bytes,
            shipped=install_licences(folder, board.processor.isa), unused=unused_tiles(code, board),
        )  # fmt: skip
        if not runtime:
            return built
        install_runtime(board, folder)
        return replace(built, libraries=(LIBRARY,), runner=RUNNER)


def unused_tiles(code: pipeline.Code, board: Board) -> tuple[str, ...]:
    """Tiles that no kernel uses: a process need not ask for those."""
    rules = {kernel.rule for kernel in code.kernels}
    rows = core_of(board).tile_products
    return tuple(row.feature for row in rows if RULES[row.weights] not in rules)


def seeded_arrays(network: Network) -> list[Array]:
    """The inputs that code is timed with, in the network's order."""
    feed = seeded_inputs(network.graph.inputs, 0, network.index_extents, network.settled)
    return [feed[tensor.name] for tensor in network.graph.inputs]


def _checked(
    lowered: adapter.Module, results: Sequence[tuple[tuple[int | None, ...], str]], model: Network
) -> adapter.Module:
    """A lowered part whose results, of those shapes and types, are what the part says.

    Raises:
        UnsupportedOpError: TVM's front end reads an operator otherwise.
    """
    for tensor, (shape, dtype) in zip(model.graph.output_tensors, results, strict=True):
        wanted = tensor.static_shape
        same = len(shape) == len(wanted) and all(
            a in (None, b) for a, b in zip(shape, wanted, strict=True)
        )
        if not same or dtype != tensor.dtype:
            producer = model.graph.layers[model.graph.producer[tensor.name]]
            given, right = ("x".join(map(str, each)) or "a scalar" for each in (shape, wanted))
            raise UnsupportedOpError(
                f"TVM computes another '{tensor.name}' than the model",
                at=f"layer '{producer.name}' ({producer.op})",
                why=f"{given} {dtype} instead of {right} {tensor.dtype}",
                hint=elsewhere(model),
            )
    return lowered


@contextlib.contextmanager
def _refusing(lowered: Any) -> Generator[None]:
    """What has no code is refused by the layers that it is about.

    Raises:
        UnsupportedOpError: Something has none.
    """
    from splitc_targets.tvm import adapter
    from splitc_targets.tvm.reader import NotReadable

    try:
        yield
    except adapter.CannotRun as error:
        names = ", ".join(name.rpartition(".")[2] for name in error.functions)
        what, why = f"TVM has no loops for {names}", "its code would call what nothing has"
        raise _no_code(what, error.functions, why, lowered) from error
    except NotReadable as error:
        what = "a part cannot be compiled"
        raise _no_code(what, [error.op], str(error), lowered) from error


def _no_code(what: str, names: Sequence[str], why: str, lowered: Any) -> UnsupportedOpError:
    """A refusal that names the layers whose operators may be meant."""
    from splitc_targets.tvm.layer_names import layers_of

    words = [name.rpartition(".")[2] for name in names if name]
    at = [
        f"'{layer}' ({op})"
        for layer, op in layers_of(lowered).items()
        if any(word in op or op in word for word in words)
    ]
    return UnsupportedOpError(
        what,
        at=f"layer {', '.join(at[:3])}" if at else " ".join(f"operator {w}" for w in words[:1]),
        why=why,
        hint="--emit onnx writes the parts for another runtime",
    )


def _caveat(code: pipeline.Code | GpuCode) -> str:
    """A sentence on operations whose loops no rule wrote."""
    if not code.fallbacks:
        return ""
    counts = Counter(code.fallbacks)
    names = ", ".join(f"{op} x{n}" if n > 1 else op for op, n in sorted(counts.items()))
    return f"slow loops, as no rule fits: {names}"
