# SPDX-License-Identifier: Apache-2.0
"""No part is compiled that would call what the runtime that ships with it does not have."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import splitc
from splitc.cost.board import load_board
from splitc.errors import UnsupportedOpError
from splitc.runtime.part import host_isa
from splitc_targets.backend import TvmBackend
from splitc_targets.link.runtime_libs import runtime_libs
from splitc_targets.tvm.runtime_calls import REGISTERED
from tests.targets.nets import Net

_LOOK_UP = """
import ctypes, sys
ffi, runtime, *names = sys.argv[1:]
library = ctypes.CDLL(ffi, ctypes.RTLD_GLOBAL)
ctypes.CDLL(runtime, ctypes.RTLD_GLOBAL)
class Name(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]
for name in names:
    found = ctypes.c_void_p()
    text = Name(name.encode(), len(name))
    library.TVMFFIFunctionGetGlobal(ctypes.byref(text), ctypes.byref(found))
    print(int(bool(found.value)), end="")
"""
"""Asks the two libraries of a part, without TVM's Python, which functions they register."""


def registers(names: list[str]) -> list[bool]:
    """Whether the libraries that ship for this machine register each function."""
    paths = [str(path) for path in runtime_libs(host_isa()).libraries]
    done = subprocess.run(
        [sys.executable, "-c", _LOOK_UP, *paths, *names], capture_output=True, text=True, check=True
    )
    return [digit == "1" for digit in done.stdout]


def test_what_code_may_call_is_in_the_libraries_that_ship() -> None:
    names = sorted(REGISTERED)
    assert [name for name, found in zip(names, registers(names), strict=True) if not found] == []


def test_what_is_refused_is_not() -> None:
    refused = ["tvm.contrib.sort.topk", "tvm.contrib.sort.argsort", "relax.run.nonzero"]
    assert registers(refused) == [False, False, False]


def test_the_libraries_for_arm_have_the_same_names() -> None:
    found = b"".join(path.read_bytes() for path in runtime_libs("aarch64").libraries)
    assert [name for name in sorted(REGISTERED) if name.encode() + b"\0" not in found] == []


def model_of(net: Net) -> Any:
    """The network as it was written, loaded."""
    return splitc.load(net.proto(), simplify=False)


def counting(kind: str) -> Net:
    """A network that ends in an operator whose result is as long as values make it."""
    net = Net(0)
    x = net.op("Relu", net.input(2, 3))
    if kind == "Compress":
        flat = net.op("Reshape", net.op("Cast", x, to=9), np.array([6]))
        net.outputs = [net.op("Compress", x, flat)]
    elif kind == "NonMaxSuppression":
        boxes, scores = net.input(1, 5, 4), net.input(1, 2, 5)
        net.outputs = [net.op("NonMaxSuppression", boxes, scores, np.array([3]))]
    elif kind == "Squeeze":
        axes = net.op("ArgMax", net.input(2, 1), axis=0, keepdims=0)
        net.outputs = [net.op("Squeeze", net.input(1, 3, 1), axes)]
    else:
        net.outputs = [net.op(kind, x)]
    net.nodes[-1].name = "ends"
    return net


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("NonZero", "how many elements are not zero"),
        ("Unique", "how many elements are different"),
        ("Compress", "how many elements it keeps"),
        ("NonMaxSuppression", "how many boxes it keeps"),
        ("Squeeze", "which is computed while it runs, decides the shape"),
    ],
)
def test_a_result_without_a_fixed_shape_is_refused_by_name(kind: str, why: str) -> None:
    found = TvmBackend().unsupported(model_of(counting(kind)))
    assert [(one.layer, one.op) for one in found] == [("ends", kind)]
    assert why in found[0].why


@pytest.mark.parametrize("kind", ["NonZero", "Unique"])
def test_code_that_would_die_at_a_call_is_refused_when_it_is_compiled(kind: str) -> None:
    backend = TvmBackend()
    net = counting(kind)
    # What is given has a fixed shape, so that nothing but the call is in the way.
    net.outputs = [net.op("ReduceSum", net.op("Cast", net.outputs[0], to=1), keepdims=0)]
    lowered = backend.lower(model_of(net))
    name = kind.lower()
    with pytest.raises(UnsupportedOpError, match=f"relax.run.{name}") as caught:
        backend.compile(lowered, load_board("host"))
    assert caught.value.at == f"layer 'ends' ({name})"
