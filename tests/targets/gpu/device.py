# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A program's launches run by the very code that a part has, on OpenCL's device: one library for
all programs, which is told of each through ctypes."""

from __future__ import annotations

import ctypes
import functools
import shutil
import tempfile
from ctypes import c_char_p, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from onnx import ModelProto

from splitc.cost.board import Board, Gpu, load_board
from splitc.runtime.devices import why_no_device
from splitc.runtime.library import Host
from splitc.runtime.memory import zeroed
from splitc.runtime.tvm_abi import Arguments, address, aligned, function
from splitc_targets.gpu import link as linking
from splitc_targets.gpu.part import STATE_BYTES
from splitc_targets.gpu.pipeline import GpuCode, compile_module
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.link.toolchain import LIBRARY, install_runtime, link_model, object_of
from splitc_targets.tvm import adapter
from tests.targets.nets import Array, Net, assert_same, wanted

BOARD = "opencl-pocl"
MEMORY = ("input", "output", "weights", "arena")

needs_opencl = pytest.mark.skipif(
    bool(why_no_device("opencl", "")), reason=f"no OpenCL: {why_no_device('opencl', '')}"
)


def of_pixels(pixels: int, channels: int, out: int) -> Conv:
    """A 1x1 convolution of so many pixels."""
    return Conv(
        batch=1, height=1, width=pixels, channels=channels, groups=1, out_height=1,
        out_width=pixels, out_channels=out, kernel=(1, 1), stride=(1, 1), dilation=(1, 1),
        pad=(0, 0), x_pixel=channels, x_row=0, x_image=0, x_channel=1, y_pixel=out, y_row=0,
        y_image=0,
    )  # fmt: skip


class _Place(ctypes.Structure):
    _fields_: ClassVar[Any] = [("memory", c_uint32), ("number", c_uint32), ("offset", c_uint64)]


class _Launch(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("symbol", c_char_p), ("blocks", c_uint32 * 3), ("threads", c_uint32 * 3),
        ("count", c_uint32), ("places", ctypes.POINTER(_Place)),
    ]  # fmt: skip


class _Program(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("arch", c_char_p), ("code", c_char_p), ("code_bytes", c_uint64),
        ("weights_bytes", c_uint64), ("arena_bytes", c_uint64),
        ("input_count", c_uint32), ("input_bytes", ctypes.POINTER(c_uint64)),
        ("output_count", c_uint32), ("output_bytes", ctypes.POINTER(c_uint64)),
        ("launch_count", c_uint32), ("launches", ctypes.POINTER(_Launch)),
    ]  # fmt: skip


@functools.cache
def _library() -> Path:
    """The host's half with no program of its own."""
    board = load_board(BOARD)
    folder = Path(tempfile.mkdtemp(prefix="splitc-test-"))
    sources = Path(linking.__file__).parent / "host"
    shown = '__attribute__((visibility("default")))'
    blank = f'#include "program.h"\n{shown} SplitcProgram splitc_program;\n'
    (folder / "blank.c").write_text(blank, "utf-8")
    for name in ("program.h", "host.c", "driver_opencl.c"):
        shutil.copyfile(sources / name, folder / name)
    install_runtime(board, folder)
    names = ("blank", "host", "driver_opencl")
    link_model(
        board, folder / "model.so", [object_of(board, folder / f"{name}.c") for name in names]
    )
    return folder


def _filled(code: GpuCode, source: bytes) -> _Program:
    launches = (_Launch * len(code.program.launches))()
    for made, launch in zip(launches, code.program.launches, strict=True):
        places = (_Place * len(launch.places))(
            *((MEMORY.index(p.memory), p.number, p.offset) for p in launch.places)
        )
        made.symbol, made.count, made.places = launch.symbol.encode(), len(places), places
        made.blocks[:], made.threads[:] = launch.blocks, launch.threads
    inputs, outputs = ((c_uint64 * max(1, len(each)))(
        *(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in each)
    ) for each in (code.inputs, code.outputs))  # fmt: skip
    return _Program(
        b"", source, len(source), code.weights.bytes, code.activation_bytes, len(code.inputs),
        inputs, len(code.outputs), outputs, len(launches), launches,
    )  # fmt: skip


def run(code: GpuCode, *arrays: Array) -> list[Array]:
    """The results of a program on OpenCL's first device."""
    folder = _library()
    with tempfile.NamedTemporaryFile(suffix=".so") as copy:  # each program in a library of its own
        copy.write((folder / "model.so").read_bytes())
        copy.flush()
        library = ctypes.CDLL(copy.name)
    host = Host(ctypes.CDLL(str(folder / LIBRARY)))
    host.serve(library)
    program = _filled(code, code.program.source.encode())
    ctypes.memmove(
        ctypes.addressof(_Program.in_dll(library, "splitc_program")), ctypes.addressof(program),
        ctypes.sizeof(program),
    )  # fmt: skip
    weights, state = code.weights.array(), zeroed(STATE_BYTES)
    _call(host, library, "prepare", [weights, state])
    given = [aligned(shape, np.dtype(dtype)) for shape, dtype in (*code.inputs, *code.outputs)]
    for held, array in zip(given, arrays, strict=False):
        held[...] = array
    _call(host, library, "main", [*given, weights, state, zeroed(64)])
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [c_void_p]
    close(library._handle)
    return given[len(code.inputs) :]


def _call(host: Host, library: ctypes.CDLL, name: str, arrays: list[Array]) -> None:
    arguments = Arguments([(each.dtype, each.shape) for each in arrays])
    for number, each in enumerate(arrays):
        arguments.put(number, address(each))
    assert arguments.call(function(library, name)) == 0, host.error()


def simulated(precision: str) -> Board:
    """The board of OpenCL's device as if it had tensor cores, and next to nothing else: their
    twin computes whatever they can."""
    board = load_board(BOARD)
    assert isinstance(board.unit, Gpu)
    unit = msgspec.structs.replace(board.unit, tensor={precision: 1024.0}, precision=precision)
    return msgspec.structs.replace(board, unit=unit, flops_per_cycle=1e-3)


def compiled(proto: ModelProto, board: str | Board = BOARD) -> GpuCode:
    """The model as a program for a device, compiled as `splitc compile` does it."""
    return compile_module(adapter.lower(proto), load_board(board))


def assert_right(net: Net, rtol: float = 2e-5) -> GpuCode:
    """On the device the model gives what onnxruntime gives."""
    proto = net.proto()
    code = compiled(proto)
    order = [net.inputs[value.name] for value in proto.graph.input]
    assert_same(run(code, *order), wanted(proto, net.inputs), rtol)
    return code
