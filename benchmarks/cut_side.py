# SPDX-License-Identifier: Apache-2.0
"""What do the parts of a network's cuts take? All of one side, in one process; see worker.py.

They run with the threads, the scratch memory and the calls of parts as they ship.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from cut_list import CODE, WEIGHTS, CompiledPart, read_side

from splitc.arrays import Array
from splitc.runtime.files import file_entry
from splitc.runtime.library import host, open_library
from splitc.runtime.memory import MappedFile, zeroed
from splitc.runtime.tvm_abi import Arguments, address, aligned, function

MOST_RUNS = 100
_PATIENCE = 4.0
"""How many times as long as undisturbed runs would take they are waited for."""
_BYTES = np.dtype(np.uint8)


class Parts:
    """All heads, or all tails, of one network."""

    def load(self, folder: str) -> int:
        """Load a side's library and lay inputs of every part ready; the threads that run them."""
        path = Path(folder)
        side, runtime = read_side(path), path / "libsplitc.so"
        self._host = host(runtime, file_entry(runtime))
        library = open_library(path / CODE, file_entry(path / CODE))
        self._host.serve(library)
        weights, packed = MappedFile(path / WEIGHTS), zeroed(side.packed_bytes)
        arena = zeroed(max(part.arena_bytes for part in side.parts))
        blocks = [weights.bytes, packed]
        if side.packed_bytes:
            self._call(_arguments([], blocks), function(library, "prepare"))
        self._kept = [library, weights, *blocks, arena]
        self._parts = [
            _Ready(part, library, [*blocks, arena[: max(1, part.arena_bytes)]])
            for part in side.parts
        ]
        return self._host.threads

    def results(self, number: int, inputs: list[Array]) -> list[Array]:
        """What a part makes of inputs, in the memory that its next run writes into."""
        part = self._parts[number]
        for held, given in zip(part.inputs, inputs, strict=True):
            held[...] = given
        self._call(part.arguments, part.main)
        return part.outputs

    def _call(self, arguments: Arguments, main: Any) -> None:
        if arguments.call(main):
            raise RuntimeError(self._host.error())

    def round(self, batch_s: float) -> list[list[float]]:
        """Seconds of each run of every part in turn, each after one that warms its memory."""
        found = [self._runs(part, batch_s) for part in self._parts]
        self._host.rest()
        return found

    def whole(self, batch_s: float) -> list[float]:
        """Seconds of each run of the last part, the whole network."""
        found = self._runs(self._parts[-1], batch_s)
        self._host.rest()
        return found

    def _runs(self, part: _Ready, batch_s: float) -> list[float]:
        """Seconds of runs while no processor was taken away, or of all where one always was."""
        clock, calm, disturbed = time.perf_counter, list[float](), list[float]()
        self._call(part.arguments, part.main)
        last = clock() + _PATIENCE * batch_s
        while True:
            before, start = _interrupted(), clock()
            self._call(part.arguments, part.main)
            end = clock()
            (calm if _interrupted() == before else disturbed).append(end - start)
            if sum(calm) >= batch_s or len(calm) == MOST_RUNS or end > last:
                return calm or disturbed


def _interrupted() -> int:
    """How often the machine took the processor from a thread of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class _Ready:
    """A part's function, and arguments that lie ready."""

    def __init__(self, part: CompiledPart, library: Any, blocks: list[Array]) -> None:
        rng = np.random.Generator(np.random.PCG64(0))
        self.inputs, self.outputs = (
            [aligned(shape, np.dtype(kind)) for shape, kind in tensors]
            for tensors in (part.inputs, part.outputs)
        )
        for tensor in self.inputs:
            tensor[...] = rng.standard_normal(tensor.shape, np.float32)
        self.arguments = _arguments([*self.inputs, *self.outputs], blocks)
        self.main = function(library, part.entry)


def _arguments(tensors: list[Array], blocks: list[Array]) -> Arguments:
    every = [*tensors, *blocks]
    made = Arguments([
        *((tensor.dtype, tensor.shape) for tensor in tensors),
        *((_BYTES, block.shape) for block in blocks),
    ])  # fmt: skip
    for number, array in enumerate(every):
        made.put(number, address(array))
    return made
