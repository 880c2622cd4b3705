# SPDX-License-Identifier: Apache-2.0
"""The runner's C++ asked from Python: a program around its sources, also under emulation."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Self

from splitc.cost.board import load_board
from splitc.runtime.process import find_emulator
from splitc_targets.link.toolchain import build_program

SOURCE = Path(__file__).with_name("probe.cc")


def build_probe(board: str, program: Path) -> None:
    """Compile the probe for a board."""
    processor = load_board(board).processor
    build_program(SOURCE, program, processor.isa, processor.glibc)


class Probe:
    """A running probe (probe.cc).

    Args:
        board: The machine that it is built for; one that is not this is emulated.
        program: What `build_probe` made for it.
    """

    def __init__(self, board: str, program: Path) -> None:
        processor = load_board(board).processor
        command = [str(program)]
        self.native = board == "host"
        if not self.native:
            emulator = find_emulator(processor.isa)
            command = [emulator.program, "-L", emulator.sysroot, *command]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, words: str, data: bytes = b"") -> bytes:
        """What it says to a request."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        pipe_in.write(words.encode() + b"\n" + struct.pack("<I", len(data)) + data)
        pipe_in.flush()
        (size,) = struct.unpack("<I", pipe_out.read(4))
        return pipe_out.read(size)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.communicate(timeout=60)
