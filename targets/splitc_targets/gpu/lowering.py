# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""From kernels in TVM's tensor IR to source in a device's language, and how each is started."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir.analysis import verify_gpu_code
from tvm.tirx.build import codegen_build, split_host_device_mods

from splitc.cost.board import Board, Gpu
from splitc_targets.gpu.cuda import OURS
from splitc_targets.gpu.device import BLOCK_SHARED_BYTES
from splitc_targets.gpu.loops import copies, exact, tensor_cores, vectors
from splitc_targets.tvm.adapter import FAILURES, CannotRun

_COMPILE = "tvm_callback_cuda_compile"
_lock = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """A kernel in the source.

    Args:
        symbol: Its name there.
        order: For each of its parameters, which argument of the kernel it is.
        blocks, threads: How many are started, and of how many threads each is.
    """

    symbol: str
    order: tuple[int, ...]
    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]


@dataclass(frozen=True)
class Source:
    """Kernels as text, and how each is started, by the kernel's name."""

    text: str
    entries: dict[str, tuple[Entry, ...]]


def target_of(board: Board) -> Any:
    """TVM's name of a board's device."""
    unit = board.unit
    if not isinstance(unit, Gpu):
        raise TypeError(f"{board.name} has no graphics processor")
    kind: dict[str, Any] = {"kind": unit.api}
    if unit.api == "cuda":
        kind["arch"] = unit.arch
    return tvm.target.Target(kind, host={"kind": "llvm", "mtriple": unit.host.triple})


def write(own: Mapping[str, Any], others: Mapping[str, Any], target: Any) -> Source:
    """Lower functions whose threads are bound, and write them in the target's language.

    Args:
        own: By name. Loops and registers are as rules wrote them: TVM's usual passes would find
            nothing and take most of the time.
        others: By name, TVM's own. One with several loop nests becomes several kernels.
        target: Of the device, with its host.

    Raises:
        CannotRun: The host would have to compute what a kernel is given.
    """
    pipeline, _, finish = _stages(target)
    functions: dict[Any, Any] = {}
    entries: dict[str, tuple[Entry, ...]] = {}
    for given, passes in ((own, _short()), (others, pipeline)):
        if given:
            device, started = _lowered(given, passes, target)
            functions.update(device.functions)
            entries |= started
    text = _text(finish()(tvm.IRModule(functions)), target)
    api = str(target.kind.name)
    if api == "opencl":
        text = _OF_C.sub(r"\1", text)
    return Source(_with_calls(text, api), entries)


def _stages(target: Any) -> Any:
    """TVM's usual passes: for whole functions, for the host's half and for the device's."""
    return tvm.tirx.get_default_tir_pipeline(target)


def _lowered(
    given: Mapping[str, Any], passes: Any, target: Any
) -> tuple[Any, dict[str, tuple[Entry, ...]]]:
    """The device's half of functions, and how their kernels are started."""
    made = tvm.IRModule({tvm.ir.GlobalVar(name): each for name, each in given.items()})
    host, devices = split_host_device_mods(passes(tirx.transform.BindTarget(target)(made)))
    (device,) = devices.values()
    kernels = {str(each.attrs["global_symbol"]): each for each in device.functions.values()}
    return device, {name: _entries(each, host[name], kernels) for name, each in given.items()}


_LIMITS = {"max_threads_per_block": 1024, "max_shared_memory_per_block": BLOCK_SHARED_BYTES}
"""What every device gives a block without being asked for more."""
_THREADS = 256
"""Threads of a block where it is for a schedule to say: more leave small kernels few blocks."""


def limited(target: Any) -> Any:
    """The target with the limits that TVM's schedules ask it for."""
    asked = {"max_threads_per_block": _THREADS, "max_shared_memory_per_block": BLOCK_SHARED_BYTES}
    arch = {"arch": target.attrs["arch"]} if "arch" in target.attrs else {}
    return tvm.target.Target({"kind": target.kind.name, **arch, **asked})


def fits(function: Any, target: Any) -> bool:
    """Whether a function whose threads are bound lowers to kernels within the limits."""
    pipeline, _, _ = _stages(target)
    try:
        named = function.with_attr("global_symbol", "main")
        device, _ = _lowered({"main": named}, pipeline, target)
    except (CannotRun, *FAILURES):
        return False
    return all(verify_gpu_code(each, _LIMITS) for each in device.functions.values())


_OF_C = re.compile(r"\b(a?(?:sin|cos|tan)h?|atan2|hypot|log1p|expm1)f(?=\()")
"""Functions whose names OpenCL has for all floats, as C has them for float32."""

_MODULES = (tensor_cores, copies, exact, vectors)
_CALLED = re.compile(r"\bsplitc_\w+(?=\()")


def _with_calls(text: str, api: str) -> str:
    """The source, before its kernels what they call."""
    wanted = set(_CALLED.findall(text))
    if not wanted:
        return text
    start = text.index('extern "C"' if api == "cuda" else "__kernel")
    both = [each.CUDA if api == "cuda" else each.OPENCL for each in _MODULES]
    called = [each for each in both if wanted & set(_CALLED.findall(each))]
    return "".join((text[:start], OURS, *called, text[start:]))


def _short() -> Any:
    return tvm.transform.Sequential([
        tirx.transform.FlattenBuffer(),
        tirx.transform.StmtSimplify(),
        tirx.transform.AnnotateEntryFunc(),
        tirx.transform.SplitHostDevice(),
        tirx.transform.MakePackedAPI(),
    ])  # fmt: skip


def _entries(function: Any, host: Any, kernels: Mapping[str, Any]) -> tuple[Entry, ...]:
    """A function's kernels in the order that its host's half starts them.

    Raises:
        CannotRun: The host would have to compute what one of them is given.
    """
    names = [f"{param.name}_ptr" for param in function.params]
    if len(set(names)) < len(names):
        raise ValueError(f"{function.attrs['global_symbol']}: parameters of one name: {names}")
    symbols: list[str] = []

    def called(call: Any) -> None:
        if getattr(call.op, "name", "") == "tirx.call_ffi_kernel":
            symbols.append(str(call.args[0].value))

    tvm_ffi.structural_walk(host.body, (tvm.ir.Call, called), order="pre")
    found = []
    for symbol in symbols:
        made = kernels[symbol]
        given = [str(param.name) for param in made.params]
        if not set(given) <= set(names):
            raise CannotRun([str(function.attrs["global_symbol"])])
        order = tuple(map(names.index, given))
        found.append(Entry(symbol, order, *_extents(made.body)))
    return tuple(found)


def _extents(body: Any) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Blocks and threads of a kernel."""
    sizes = {f"{kind}.{axis}": 1 for kind in ("blockIdx", "threadIdx") for axis in "xyz"}

    def noted(statement: Any) -> None:
        if statement.attr_key == "thread_extent":
            sizes[str(statement.node.thread_tag)] = int(statement.value)

    tvm_ffi.structural_walk(body, (tirx.AttrStmt, noted), order="pre")

    def three(kind: str) -> tuple[int, int, int]:
        return sizes[f"{kind}.x"], sizes[f"{kind}.y"], sizes[f"{kind}.z"]

    return three("blockIdx"), three("threadIdx")


def _text(device: Any, target: Any) -> str:
    """The source alone: compiling it is not TVM's business here, nor is it possible everywhere."""
    with _lock:
        before = tvm_ffi.get_global_func(_COMPILE, allow_missing=True)
        tvm_ffi.register_global_func(_COMPILE, lambda code, _target: "", override=True)
        try:
            return str(codegen_build(device, target).inspect_source())
        finally:
            if before is not None:
                tvm_ffi.register_global_func(_COMPILE, before, override=True)
