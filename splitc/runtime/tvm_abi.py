# SPDX-License-Identifier: Apache-2.0
"""How compiled functions are called: TVM's calling convention over DLPack's tensors, in ctypes.

A function is `int f(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result)` and
gives 0 where it did not fail. Layouts: `tvm/ffi/c_api.h` and `dlpack/dlpack.h`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from splitc.arrays import Array

ALIGNMENT = 64
"""Bytes that the data of every argument is aligned to, and that generated code relies on: a
cache line, and the widest vector."""

_CPU = 1
_TENSOR_POINTER = 7
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
"""DLPack's code of a numpy kind."""


class _Tensor(ctypes.Structure):
    """`DLTensor`."""

    _fields_: ClassVar[Any] = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Any(ctypes.Structure):
    """`TVMFFIAny`."""

    _fields_: ClassVar[Any] = [
        ("type_index", ctypes.c_int32), ("padding", ctypes.c_uint32), ("value", ctypes.c_void_p),
    ]  # fmt: skip


_Function = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p
)


class Arguments:
    """The arguments of one call, described once: only where their data lies changes.

    Args:
        types: Element type and shape of each.
    """

    def __init__(self, types: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> None:
        self.tensors = [_described(dtype, shape) for dtype, shape in types]
        self._values = (_Any * len(types))()
        for value, (tensor, *_) in zip(self._values, self.tensors, strict=True):
            value.type_index = _TENSOR_POINTER
            value.value = ctypes.addressof(tensor)
        self._result = _Any()
        self._given = (
            None, ctypes.addressof(self._values), len(types), ctypes.addressof(self._result)
        )  # fmt: skip

    def put(self, number: int, address: int) -> None:
        """Say where the data of an argument lies."""
        self.tensors[number][0].data = address

    def call(self, function: Any) -> int:
        """Call a function with them; gives what it returns, 0 where it did not fail."""
        return function(*self._given)


def _described(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[_Tensor, Any, Any]:
    """A tensor without data, and the memory that it refers to."""
    strides = strides_of(shape)
    extents = (ctypes.c_int64 * len(shape))(*shape)
    steps = (ctypes.c_int64 * len(shape))(*map(int, strides))
    tensor = _Tensor(
        None, _CPU, 0, len(shape), _CODES[dtype.kind], dtype.itemsize * 8, 1,
        ctypes.addressof(extents), ctypes.addressof(steps), 0,
    )  # fmt: skip
    return tensor, extents, steps


def function(library: ctypes.CDLL, name: str) -> Any:
    """A compiled function of a library, which is to outlive it.

    Raises:
        ValueError: It has none of that name.
    """
    # A function that ctypes looks up is in a cycle with its library, which would outlive a part.
    symbol = ctypes.c_char.in_dll(library, f"__tvm_ffi_{name}")
    return _Function(ctypes.addressof(symbol))


def address(array: Array) -> int:
    """Where an array's data lies."""
    return array.__array_interface__["data"][0]


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A new array in C order whose data is aligned as code wants it, with any values."""
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, -address(memory) % ALIGNMENT)


def strides_of(shape: tuple[int, ...]) -> Sequence[int]:
    """The strides that compiled code asks for, in elements: products of the extents behind.

    numpy's are the same where there are elements.
    """
    return np.cumprod((1, *shape[:0:-1]), dtype=np.int64)[::-1].tolist() if shape else ()
