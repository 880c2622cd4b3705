# SPDX-License-Identifier: Apache-2.0
"""Compiled parts in this process, through `libsplitc.so` and the part's own code alone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitc.arrays import Array
from splitc.errors import BadBundleError, DeviceError, ToolchainError, UsageError
from splitc.runtime.devices import fails_by_device, why_not_run
from splitc.runtime.library import Host, host, open_library
from splitc.runtime.manifest import PartManifest, TensorSpec
from splitc.runtime.memory import Arenas, MappedFile, zeroed
from splitc.runtime.part import Contract, Part
from splitc.runtime.tvm_abi import ALIGNMENT, Arguments, address, aligned, function

_BYTES = np.dtype(np.uint8)


class NativePart(Part):
    """A part of compiled code, loaded.

    Code and weights are there once; what one call works in once for every call that runs at
    the same time, of all parts that work in the same memory.

    Args:
        folder: The part's folder, its files held against the manifest.
        part: Its manifest.

    Raises:
        BadBundleError: The manifest contradicts itself, or the part came without its runtime.
        ToolchainError: The code is for another machine, or cannot be loaded.
        DeviceError: There is no such graphics processor, or it cannot hold the part.
    """

    def __init__(self, folder: Path, part: PartManifest) -> None:
        self.contract = Contract.of(part)
        self._loaded: _Loaded | None = _Loaded(folder, part)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run it once: see `Part.run`.

        Inputs in C order and aligned to 64 bytes are read where they lie, others are copied.

        Raises:
            UsageError: An input does not fit, or the part is closed.
            ToolchainError: The code refuses the call.
            DeviceError: Its graphics processor fails.
        """
        loaded = self._loaded
        if loaded is None:
            raise UsageError(f"the {self.contract.part} is closed")
        try:
            call = loaded.free.pop()
        except IndexError:
            call = _Call(loaded)
        try:
            return call.run(inputs, loaded.arenas)
        finally:
            loaded.free.append(call)

    def kernel_seconds(self, runs: int) -> float:
        """Seconds of that many runs of a graphics processor's kernels, one behind the other.

        Nothing is copied to it or back: the kernels read what the last call left there.

        Raises:
            UsageError: The part is closed, or for a processor.
            ToolchainError: The code has no such function: it is of an older splitc.
            DeviceError: The graphics processor fails.
        """
        loaded = self._loaded
        if loaded is None or loaded.part.device is None:
            why = "it is closed" if loaded is None else "it is for a processor"
            raise UsageError(f"the {self.contract.part} has no kernels to repeat", why=why)
        times = np.array([runs, 0], np.int64)
        arguments = Arguments([(times.dtype, times.shape), (_BYTES, loaded.packed.shape)])
        arguments.put(0, address(times))
        arguments.put(1, address(loaded.packed))
        _do(arguments, _function(loaded.library, "repeat"), loaded.host, loaded.part)
        return int(times[1]) / 1e9

    def work_in(self, arenas: Arenas) -> None:
        """Borrow scratch memory from there."""
        if self._loaded is not None:
            arenas.want(self._loaded.arena_bytes)
            self._loaded.arenas = arenas

    def rest(self) -> None:
        """Have the threads sleep that watch for the next loop, a millisecond otherwise."""
        loaded = self._loaded
        if loaded is not None:
            loaded.host.rest()

    def close(self) -> None:
        """Free memory and code, as soon as no call is running."""
        self._loaded = None


class _Loaded:
    """Code and weights, prepared; goes when nothing refers to it any more."""

    def __init__(self, folder: Path, part: PartManifest) -> None:
        self.part = part
        self.contract = Contract.of(part)
        self.host = _host(folder, part)
        self.library = open_library(folder / part.model, part.files[part.model])
        self.host.serve(self.library)
        self.main = _function(self.library, part.entry)
        if part.weights and part.weight_bytes != part.files[part.weights].bytes:
            raise BadBundleError(f"the {part.part}'s weights are not as long as it says")
        mapped = MappedFile(folder / part.weights) if part.weights else None
        self.weights = mapped.bytes if mapped is not None else zeroed(part.weight_bytes)
        self.packed = zeroed(part.packed_bytes)
        self.arena_bytes = part.activation_bytes
        self.arenas = Arenas()
        self.arenas.want(part.activation_bytes)
        self.free: list[_Call] = []
        if part.packed_bytes:
            arguments = _of([], self.weights, self.packed)
            _do(arguments, _function(self.library, "prepare"), self.host, part)
            # Weights that only the preparing reads would stay in memory beside their other form.
            if mapped is not None:
                mapped.drop()


class _Call:
    """What one call needs beside code and weights: arguments described."""

    def __init__(self, loaded: _Loaded) -> None:
        contract = loaded.contract
        self._contract = contract
        self._part = loaded.part
        self._main, self._host = loaded.main, loaded.host
        # Also what keeps code and weights while the call is running.
        self._shared = (loaded.library, loaded.weights, loaded.packed)
        specs = (*contract.inputs, *contract.outputs)
        self._arguments = _of(specs, loaded.weights, loaded.packed, scratch=loaded.arena_bytes)
        self._inputs = [(_shape(s), np.dtype(s.dtype), s.dtype == "bool") for s in contract.inputs]
        self._outputs = [(_shape(s), np.dtype(s.dtype)) for s in contract.outputs]
        self._copies: list[Array | None] = [None] * len(self._inputs)

    def run(self, inputs: Sequence[Array], arenas: Arenas) -> list[Array]:
        arguments = self._arguments
        if len(inputs) != len(self._inputs):
            self._contract.check(inputs)
        number = 0
        for (shape, dtype, is_bool), array in zip(self._inputs, inputs, strict=True):
            if array.shape != shape or array.dtype != dtype:
                self._contract.check(inputs)
            where = address(array)
            if where % ALIGNMENT or not array.flags.c_contiguous or is_bool:
                where = self._copied(number, array)
            arguments.put(number, where)
            number += 1
        results: list[Array] = []
        for shape, dtype in self._outputs:
            made = aligned(shape, dtype)
            arguments.put(number, address(made))
            results.append(made)
            number += 1
        arena = arenas.borrow()
        # Behind weights and what is packed of them.
        arguments.put(number + 2, address(arena))
        try:
            _do(arguments, self._main, self._host, self._part)
        finally:
            arenas.give_back(arena)
        return results

    def _copied(self, number: int, array: Array) -> int:
        """Where a copy of an input lies that is as code wants it: a bool is 0 or 1 there."""
        shape, dtype, is_bool = self._inputs[number]
        copy = self._copies[number]
        if copy is None:
            copy = self._copies[number] = aligned(shape, dtype)
        if is_bool:
            np.not_equal(array.view(np.uint8), 0, out=copy)
        else:
            np.copyto(copy, array)
        return address(copy)


def _host(folder: Path, part: PartManifest) -> Host:
    why = why_not_run(part)
    if why:
        if fails_by_device(part):
            raise DeviceError(f"cannot load the {part.part} on this machine", why=why)
        raise ToolchainError(f"cannot load the {part.part} on this machine", why=why)
    if len(part.libraries) != 1:
        hint = "compile without --runtime none to run it here"
        raise BadBundleError(f"the {part.part} has no runtime", hint=hint)
    return host(folder / part.libraries[0], part.files[part.libraries[0]])


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    shape = tuple(extent for extent in spec.shape if extent is not None)
    if len(shape) != len(spec.shape):
        raise BadBundleError(f"compiled code has no open extents, '{spec.name}' has")
    return shape


def _of(specs: Sequence[TensorSpec], *memory: Array, scratch: int | None = None) -> Arguments:
    """Tensors of a contract, without data, then blocks of memory, then bytes to work in."""
    tensors = [(np.dtype(spec.dtype), _shape(spec)) for spec in specs]
    sizes = [*map(len, memory), *([] if scratch is None else [max(scratch, 1)])]
    arguments = Arguments([*tensors, *((_BYTES, (size,)) for size in sizes)])
    for number, block in enumerate(memory, len(tensors)):
        arguments.put(number, address(block))
    return arguments


def _function(library: ctypes.CDLL, name: str) -> Any:
    try:
        return function(library, name)
    except ValueError as error:
        raise ToolchainError("cannot load the code", why=f"it has no '{name}'") from error


def _do(arguments: Arguments, function: Any, host: Host, part: PartManifest) -> None:
    if arguments.call(function):
        if fails_by_device(part):
            raise DeviceError(f"the {part.part} did not run", why=host.error())
        raise ToolchainError(f"the {part.part} did not run", why=host.error())
