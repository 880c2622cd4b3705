# SPDX-License-Identifier: Apache-2.0
"""What the CUDA driver of this machine says of its GPUs: no toolkit is asked, no context made.

References:
    NVIDIA, "CUDA Driver API", sections 6.4 (version) and 6.5 (device management).
"""

from __future__ import annotations

import ctypes
import functools
import os
from ctypes import byref, c_char_p, c_int, c_size_t
from dataclasses import dataclass

from splitc.errors import DeviceError

DEVICE = "SPLITC_DEVICE"
"""The environment variable that says which device a part takes: "cuda:1" is the second."""

_LIBRARY = "libcuda.so.1"
_ATTRIBUTES = {
    "clock_khz": 13, "multiprocessors": 16, "memory_khz": 36, "bus_bits": 37, "cache_bytes": 38,
    "major": 75, "minor": 76,
}  # fmt: skip
"""CU_DEVICE_ATTRIBUTE_*, by number."""
_LANES = {
    (7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64,
}  # fmt: skip
"""fp32 lanes of a multiprocessor where they are not 128 (CUDA C++ Programming Guide, Throughput
of Native Arithmetic Instructions)."""


@dataclass(frozen=True)
class CudaGpu:
    """A GPU, as its driver describes it.

    Args:
        name: What it is called.
        major, minor: Its compute capability.
        multiprocessors: How many it has.
        clock_hz: The highest that they run at.
        memory_bytes: Of its own.
        memory_bandwidth: Bytes a second, by the memory's clock and the width of its bus; 0 where
            the driver does not tell them.
        cache_bytes: Of L2.
    """

    name: str
    major: int
    minor: int
    multiprocessors: int
    clock_hz: float
    memory_bytes: int
    memory_bandwidth: float
    cache_bytes: int

    @property
    def arch(self) -> str:
        """What code for it is made for, as "sm_90"."""
        return f"sm_{self.major}{self.minor}"

    @property
    def flops_per_cycle(self) -> float:
        """Of a multiprocessor: two operations for each of its fp32 lanes."""
        return 2.0 * _LANES.get((self.major, self.minor), 128)


def device_number(api: str) -> int:
    """Which of the machine's devices parts for an interface take, from 0."""
    name, _, number = os.environ.get(DEVICE, "").partition(":")
    return int(number) if name == api and number.isdigit() else 0


def cuda_version() -> str:
    """The latest CUDA that the driver knows, as "13.0".

    Raises:
        DeviceError: There is no driver, or it does not start.
    """
    number = c_int()
    _ask("cuDriverGetVersion", byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def cuda_gpus() -> tuple[CudaGpu, ...]:
    """The GPUs of this machine in the driver's order.

    Raises:
        DeviceError: There is no driver, it does not start, or finds none.
    """
    return tuple(map(_gpu, range(_count())))


def cuda_gpu(number: int) -> CudaGpu:
    """The GPU of that number, from 0.

    Raises:
        DeviceError: As `cuda_gpus`, or there is none of that number.
    """
    count = _count()
    if number >= count:
        raise DeviceError(f"there is no CUDA GPU number {number}", why=f"there are {count}")
    return _gpu(number)


def _count() -> int:
    count = c_int()
    _ask("cuDeviceGetCount", byref(count))
    return count.value


def _gpu(number: int) -> CudaGpu:
    device, total, name = c_int(), c_size_t(), ctypes.create_string_buffer(256)
    _ask("cuDeviceGet", byref(device), number)
    _ask("cuDeviceGetName", name, len(name) - 1, device)
    _ask("cuDeviceTotalMem_v2", byref(total), device)
    said: dict[str, int] = {}
    for key, attribute in _ATTRIBUTES.items():
        value = c_int()
        _ask("cuDeviceGetAttribute", byref(value), attribute, device)
        said[key] = value.value
    needed = ("clock_khz", "multiprocessors", "cache_bytes", "major")
    if not all(said[key] > 0 for key in needed) or not total.value:
        raise DeviceError("the CUDA driver does not describe its GPU", why=str(said))
    return CudaGpu(
        name.value.decode(errors="replace"), said["major"], said["minor"],
        said["multiprocessors"], said["clock_khz"] * 1e3, total.value,
        # Two transfers a clock.
        2e3 * said["memory_khz"] * said["bus_bits"] / 8, said["cache_bytes"],
    )  # fmt: skip


def _ask(function: str, *arguments: object) -> None:
    """Call a function of the driver.

    Raises:
        DeviceError: There is no driver, it lacks the function, or that fails.
    """
    driver = _started()
    try:
        status = getattr(driver, function)(*arguments)
    except AttributeError as error:
        why = f"{_LIBRARY} has no {function}"
        raise DeviceError("the CUDA driver is too old", why=why) from error
    if status:
        raise DeviceError(f"the CUDA driver fails in {function}", why=_reason(driver, status))


@functools.cache
def _started() -> ctypes.CDLL:
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        hint = "install NVIDIA's driver; a container wants --gpus all"
        why = f"{_LIBRARY} cannot be opened"
        raise DeviceError("there is no CUDA driver here", why=why, hint=hint) from error
    status = driver.cuInit(0)
    if status:
        raise DeviceError("the CUDA driver does not start", why=_reason(driver, status))
    return driver


def _reason(driver: ctypes.CDLL, status: int) -> str:
    text = c_char_p()
    if driver.cuGetErrorString(status, byref(text)) == 0 and text.value:
        return text.value.decode(errors="replace")
    return f"status {status}"
