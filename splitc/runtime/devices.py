# SPDX-License-Identifier: Apache-2.0
"""Whether this machine has the graphics processor that a part is for; asked of its driver."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from ctypes import byref, c_uint32, c_uint64, c_void_p

from splitc.cost.board import Board, Gpu, why_not_here
from splitc.cost.gpu_driver import DEVICE, cuda_gpu, device_number
from splitc.errors import DeviceError, UsageError
from splitc.runtime.manifest import PartManifest

_ALL_DEVICES = 0xFFFFFFFF
_SVM_CAPABILITIES = 0x1053  # CL_DEVICE_SVM_CAPABILITIES
_NAME = 0x102B  # CL_DEVICE_NAME
_MOST = 16
_JETSONS = {"sm_53", "sm_62", "sm_72", "sm_87", "sm_101", "sm_110"}


def choose_device(name: str) -> None:
    """Have the parts that this process loads from now on take a device, as "cuda:1".

    Raises:
        UsageError: It is no name of one.
    """
    if re.fullmatch(r"(cuda|opencl)(:\d{1,2})?", name) is None:
        raise UsageError(f"'{name}' is no device", hint="cuda, cuda:1 or opencl:0, say")
    os.environ[DEVICE] = name


def why_not_run(part: PartManifest) -> str:
    """Why this machine does not run a part, as its runner would say; "" where it does."""
    why = why_not_here(part.isa, part.cpu, part.features)
    if why or part.device is None:
        return why
    return why_no_device(part.device.api, part.device.arch)


def fails_by_device(part: PartManifest) -> bool:
    """Whether a part that this machine does not run fails for its graphics processor."""
    return part.device is not None and not why_not_here(part.isa, part.cpu, part.features)


def why_not_run_for(board: Board) -> str:
    """Why this machine runs no code for a board; "" where it does."""
    processor = board.processor
    why = why_not_here(processor.isa, processor.cpu, processor.features)
    if why or not isinstance(board.unit, Gpu):
        return why
    return why_no_device(board.unit.api, board.unit.arch)


def why_no_device(api: str, arch: str) -> str:
    """Why no device here runs code for an architecture of an interface; "" where one does."""
    if api == "cuda":
        return _why_no_cuda(arch, device_number(api))
    if api == "opencl":
        return _why_no_opencl(device_number(api))
    return f"parts for {api} cannot be run"


def _runs_on(here: str, arch: str) -> bool:
    """Whether a GPU runs code for an architecture.

    Code of one major number runs on its later minor ones; a Jetson's runs nowhere else, and no
    other's on a Jetson (CUDA C++ Programming Guide, Binary Compatibility).
    """
    if {here, arch} & _JETSONS:
        return here == arch
    return here[:-1] == arch[:-1] and here[-1] >= arch[-1]


def _why_no_cuda(arch: str, number: int) -> str:
    try:
        here = cuda_gpu(number).arch
    except DeviceError as error:
        return f"it is for a {arch} GPU, and {error.what}"
    if not _runs_on(here, arch):
        return f"it is for a {arch} GPU, the one here is {here}"
    return ""


def opencl_devices() -> tuple[str, ...]:
    """Names of the OpenCL devices here that share memory, in the order of their numbers.

    Raises:
        DeviceError: There is no OpenCL here.
    """
    loader = _opencl()
    if loader is None:
        raise DeviceError(
            "there is no OpenCL here", why="libOpenCL.so.1 cannot be opened",
            hint="on Debian: apt install ocl-icd-libopencl1, and a driver: pocl-opencl-icd",
        )  # fmt: skip
    return tuple(_name(loader, device) for device in _shared(loader))


@functools.cache
def _why_no_opencl(number: int) -> str:
    loader = _opencl()
    if loader is None:
        return "it is for OpenCL, and there is no libOpenCL.so.1 here"
    if number < len(_shared(loader)):
        return ""
    return f"it is for OpenCL, and there is no device number {number} with shared virtual memory"


def _shared(loader: ctypes.CDLL) -> list[int | None]:
    """The devices whose memory is shared, of all platforms."""
    platforms, count = (c_void_p * _MOST)(), c_uint32()
    found: list[int | None] = []
    if loader.clGetPlatformIDs(_MOST, platforms, byref(count)) == 0:
        for platform in platforms[: count.value]:
            devices, have = (c_void_p * _MOST)(), c_uint32()
            asked = c_void_p(platform), c_uint64(_ALL_DEVICES), _MOST, devices, byref(have)
            if loader.clGetDeviceIDs(*asked) == 0:
                found += [each for each in devices[: have.value] if _shares_memory(loader, each)]
    return found


def _name(loader: ctypes.CDLL, device: int | None) -> str:
    name = ctypes.create_string_buffer(256)
    loader.clGetDeviceInfo(c_void_p(device), _NAME, ctypes.c_size_t(len(name) - 1), name, None)
    return name.value.decode(errors="replace")


def _shares_memory(loader: ctypes.CDLL, device: int | None) -> bool:
    shared = c_uint64()
    loader.clGetDeviceInfo(
        c_void_p(device), _SVM_CAPABILITIES, ctypes.c_size_t(8), byref(shared), None
    )
    return shared.value != 0


@functools.cache
def _opencl() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libOpenCL.so.1")
    except OSError:
        return None
