# SPDX-License-Identifier: Apache-2.0
"""llvm-mca's model of a core: the cycles of basic blocks, every load taken to find its line in L1.

References:
    https://llvm.org/docs/CommandGuide/llvm-mca.html
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from splitc.cost.board import Cpu
from splitc.errors import ToolchainError
from splitc_targets.emitted.blocks import Block

_LONG = 200
"""Instructions from which a block is repeated less often."""
_RARE = 0.001
"""Share of all instructions below which a block is told from its length alone."""
_RELEASES = range(30, 11, -1)
_MODELS = {"cortex-a76": "neoverse-n1", "cortex-a78": "neoverse-n1"}
"""Whose model prices a core that LLVM has none of its own for.

LLVM prices the Cortex-A76 as a Cortex-A57: one multiply-add of floats a cycle where it starts two.
The Neoverse N1 has the A76's pipes (Arm's optimisation guides of both have the same tables for
vectors), and LLVM from 17 on a model of it; older ones price that as an A57 too.
"""

_DIVISIONS = {"cortex-a72": 8.0}
"""Cycles between divisions of vectors of floats, for cores whose divider LLVM's model has not.

LLVM prices the Cortex-A72 as a Cortex-A57, whose divider takes 34. Measured on A72s: OSACA,
osaca/data/a72.yml, `fdiv` of vectors.
"""
_DIVIDE = re.compile(r"^\tfdiv\t(?=v\d+\.[24])")


@dataclass(frozen=True)
class CoreModel:
    """The model of a board's core.

    Args:
        cpu: The core.
        program: llvm-mca's path.
        release: Its LLVM's.
    """

    cpu: Cpu
    program: str
    release: str

    @staticmethod
    def of(cpu: Cpu) -> CoreModel:
        """The model of that core, by the newest llvm-mca that is installed.

        Raises:
            ToolchainError: llvm-mca is not installed.
        """
        names = ("llvm-mca", *(f"llvm-mca-{release}" for release in _RELEASES))
        found = [(_release(path), path) for path in filter(None, map(shutil.which, names))]
        if not found:
            hint = "on Debian: apt install llvm"
            raise ToolchainError("llvm-mca is not installed", hint=hint)
        release, program = max(found, key=lambda one: _numbers(one[0]))
        return CoreModel(cpu, program, release)

    def fma_cycles(self, kind: str = "") -> float:
        """Cycles between multiply-adds where nothing else runs: the limit of the port.

        Args:
            kind: "dot" for those of bytes, "half" for those of float16, else of floats.
        """
        form = {"dot": "sdot\tv{}.4s, v30.16b, v31.16b", "half": "fmla\tv{}.8h, v30.8h, v31.8h"}
        line = "\t" + form.get(kind, "fmla\tv{}.4s, v30.4s, v31.4s")
        lines = [line.format(k) for k in range(24)]
        return self._ask([lines], 5000)[0] / len(lines)

    def tell(self, blocks: Iterable[Block]) -> None:
        """Set the cycles of blocks; of those that hardly run, from their length alone.

        Raises:
            ToolchainError: llvm-mca does not know the core or an instruction.
        """
        known = list(blocks)
        whole = sum(len(block.lines) * block.count for block in known)
        long: list[Block] = []
        short: list[Block] = []
        for block in known:
            block.cycles = len(block.lines) / 2
            if len(block.lines) * block.count > _RARE * whole:
                (long if len(block.lines) > _LONG else short).append(block)
        for some, iterations in ((short, 200), (long, 20)):
            found = self._ask([block.lines for block in some], iterations)
            for block, cycles in zip(some, found, strict=True):
                block.cycles = cycles

    def _ask(self, regions: Sequence[Sequence[str]], iterations: int) -> list[float]:
        """Cycles of one run of each region, in a row of so many.

        Where LLVM does not know the core's divider, a division counts as a multiplication beside
        it: the region takes as long as its divisions at least.
        """
        if not regions:
            return []
        between = _DIVISIONS.get(self.cpu.cpu)
        if between is None:
            return self._priced(regions, iterations)
        divisions = [sum(bool(_DIVIDE.match(line)) for line in lines) for lines in regions]
        others = [[_DIVIDE.sub("\tfmul\t", line) for line in lines] for lines in regions]
        pairs = zip(self._priced(others, iterations), divisions, strict=True)
        return [max(cycles, between * count) for cycles, count in pairs]

    def _priced(self, regions: Sequence[Sequence[str]], iterations: int) -> list[float]:
        """The same by LLVM's model as it is."""
        text: list[str] = []
        for number, lines in enumerate(regions):
            text += [f"# LLVM-MCA-BEGIN r{number}", *lines, "# LLVM-MCA-END"]
        attributes = ",".join(self.cpu.features)
        printed = _run(
            [
                self.program, f"-mtriple={self.cpu.triple}",
                f"-mcpu={_MODELS.get(self.cpu.cpu, self.cpu.cpu)}",
                *([f"-mattr={attributes}"] if attributes else []),
                f"-iterations={iterations}", "-instruction-info=0", "-resource-pressure=0",
            ],
            "\n".join(text) + "\n",
        )  # fmt: skip
        found = re.findall(r"^Total Cycles: +(\d+)", printed, re.MULTILINE)
        if len(found) != len(regions):
            why = f"it told the cycles of {len(found)} of {len(regions)} blocks"
            raise ToolchainError("llvm-mca tells no cycles", why=why)
        return [int(cycles) / iterations for cycles in found]


def _release(program: str) -> str:
    """The release of an llvm-mca, as in "19.1.7"; nothing where it tells none."""
    found = re.search(r"LLVM version (\S+)", _run([program, "--version"], ""))
    return found[1] if found else ""


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release))


def _run(command: list[str], text: str) -> str:
    """What llvm-mca prints for a text.

    Raises:
        ToolchainError: It fails; `why` is its first words.
    """
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        hint = "a newer LLVM's llvm-mca knows more cores and instructions: apt install llvm-19"
        raise ToolchainError("llvm-mca fails", at=command[0], why=lines[0].strip()[:300], hint=hint)
    return done.stdout
