# SPDX-License-Identifier: Apache-2.0
"""What does any AArch64 program execute? Its basic blocks, counted by a plug-in of qemu's.

Blocks are those that qemu translates: straight lines up to a branch or the end of a page. Their
instructions are read from memory, so code is counted as it is shipped, whoever made it.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_caches import Cache, Traffic, arguments, read_traffic

from splitc.errors import ToolchainError
from splitc_targets.emitted.blocks import Block
from splitc_targets.emitted.core_model import CoreModel
from splitc_targets.link.toolchain import zig

_HEAD = struct.Struct("<QQQ")
_SOURCE = Path(__file__).with_suffix(".c")


def read_counts(data: bytes) -> Counter[bytes]:
    """How often each block ran, by its instructions, from what the plug-in wrote.

    Raises:
        ToolchainError: It breaks off within a block.
    """
    found: Counter[bytes] = Counter()
    at = 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise ToolchainError("the counts break off", at=f"byte {at} of {len(data)}")
        _, count, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        words = data[at : at + 4 * length]
        if len(words) != 4 * length:
            raise ToolchainError("the counts break off", at=f"byte {at} of {len(data)}")
        found[words] += count
        at += len(words)
    return found


def instructions(counts: Mapping[bytes, int]) -> int:
    """How many were executed."""
    return sum(len(words) // 4 * count for words, count in counts.items())


def disassembled(words: Sequence[bytes], disassembler: str) -> list[list[str]]:
    """Each block's instructions as text, as `Block.lines` has them.

    Args:
        words: The instructions of each block, four bytes each.
        disassembler: Path of an llvm-mc.

    Raises:
        ToolchainError: It knows not all of them.
    """
    rows = [
        " ".join(f"0x{byte:02x}" for byte in block[at : at + 4])
        for block in words
        for at in range(0, len(block), 4)
    ]
    done = subprocess.run(
        [disassembler, "-disassemble", "-triple=aarch64-linux-gnu", "-mattr=+all"],
        input="\n".join(rows) + "\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [
        line
        for line in done.stdout.splitlines()
        if line.startswith("\t") and not line.startswith("\t.")
    ]
    if done.returncode != 0 or len(lines) != len(rows):
        why = f"it read {len(lines)} of {len(rows)} instructions"
        raise ToolchainError("llvm-mc cannot read the code", at=disassembler, why=why)
    left = iter(lines)
    return [[next(left) for _ in range(len(block) // 4)] for block in words]


def priced(counts: Mapping[bytes, int], core: CoreModel) -> list[Block]:
    """The blocks that ran, with the cycles of each.

    Raises:
        ToolchainError: LLVM knows the core or an instruction not.
    """
    ran = {words: count for words, count in counts.items() if count > 0}
    texts = disassembled(list(ran), core.program.replace("llvm-mca", "llvm-mc"))
    blocks = [
        Block(number, "", lines, count)
        for number, (lines, count) in enumerate(zip(texts, ran.values(), strict=True))
    ]
    core.tell(blocks)
    return blocks


def find_qemu() -> str:
    """A qemu that takes plug-ins.

    Raises:
        ToolchainError: None is installed; those linked statically take none.
    """
    program = shutil.which("qemu-aarch64")
    if program is None:
        hint = "on Debian: apt install qemu-user"
        raise ToolchainError("no qemu-aarch64 that takes plug-ins is installed", hint=hint)
    return program


def build_plugin(folder: Path) -> Path:
    """The plug-in, built into a folder."""
    made = folder / "arm_counts.so"
    zig("cc", "-O2", "-shared", "-fPIC", "-Wl,--allow-shlib-undefined", str(_SOURCE),
        "-o", str(made))  # fmt: skip
    return made


@dataclass(frozen=True)
class Ran:
    """What a program does, or does between its marks.

    Args:
        blocks: How often each block runs, by its instructions.
        traffic: What went between the caches, from L1 outwards; empty where none was asked for.
    """

    blocks: Counter[bytes]
    traffic: tuple[Traffic, ...] = ()

    def beyond(self, other: Ran) -> Ran:
        """What runs more often than in another run, and goes between the caches more often."""
        more = {
            words: times - other.blocks[words]
            for words, times in self.blocks.items()
            if times > other.blocks[words]
        }
        pairs = zip(self.traffic, other.traffic, strict=True)
        return Ran(Counter(more), tuple(mine - theirs for mine, theirs in pairs))


def count(
    command: Sequence[str], plugin: Path, sysroot: Path, cpu: str, env: Mapping[str, str],
    caches: Sequence[Cache] = (),
) -> Ran:  # fmt: skip
    """What a program runs, or runs between its marks.

    Args:
        command: The AArch64 program and its arguments.
        plugin: What `build_plugin` built.
        sysroot: Folder with its C library.
        cpu: qemu's name of the core, which says what instructions there are.
        env: What it finds in its environment beside this process's.
        caches: Of the core, from L1 outwards; with none a run takes a third of the time.

    Raises:
        ToolchainError: It fails.
    """
    written, traffic = plugin.parent / "counts", plugin.parent / "traffic"
    written.unlink(missing_ok=True)
    looked = f",traffic={traffic}{arguments(caches)}" if caches else ""
    settings = [word for name, value in env.items() for word in ("-E", f"{name}={value}")]
    done = subprocess.run(
        [find_qemu(), "-cpu", cpu, "-L", str(sysroot), *settings,
         "-plugin", f"{plugin},counts={written}{looked}", *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not written.is_file():
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ToolchainError(f"{Path(command[0]).name} fails under qemu", why=said[-1])
    blocks = read_counts(written.read_bytes())
    return Ran(blocks, read_traffic(traffic.read_bytes()) if caches else ())
