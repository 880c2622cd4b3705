# SPDX-License-Identifier: Apache-2.0
"""What the loop that multiplies is made of, in a GPU's own instructions.

NVIDIA's disassembler (`pip install nvidia-cuda-nvdisasm`) lists a kernel's instructions. A loop is
what lies between a label and a jump back to it; a kernel's is the innermost one that has most
multiplications.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from splitc.errors import ToolchainError

PACKAGE = "nvidia-cuda-nvdisasm"

_CLASSES = {
    "multiplies": ("HMMA", "FFMA", "FFMA2", "HFMA2"),
    "loads": ("LDS", "LDSM", "LDG", "LD", "LDL"),
    "copies": ("LDGSTS",),
    "stores": ("STS", "STG", "ST", "STL"),
    "barriers": ("BAR", "DEPBAR", "LDGDEPBAR"),
    "jumps": ("BRA", "BSSY", "BSYNC", "WARPSYNC"),
    "predicates": ("ISETP", "FSETP", "PLOP3", "UISETP", "UPLOP3", "SEL", "P2R", "R2P"),
    "integers": (
        "IMAD", "IADD", "IADD3", "VIADD", "LEA", "LOP3", "SHF", "PRMT", "MOV", "IMNMX", "VIMNMX",
        "IABS", "UIMAD", "UIADD3", "ULEA", "ULOP3", "USHF", "UMOV", "UPRMT", "R2UR", "I2F", "F2I",
    ),
}  # fmt: skip
"""Kinds of instructions, and their names; those of uniform registers among them."""

_KINDS = {name: kind for kind, names in _CLASSES.items() for name in names}
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")
_LABEL = re.compile(r"\.(L_\w+):")
_WIDE = ("LDS", "LDG", "LDGSTS")
"""Instructions that take 16 bytes at most, and say so."""


@dataclass(frozen=True)
class Loop:
    """A kernel's loop that multiplies.

    Args:
        instructions: In one pass.
        kinds: Of these, by kind.
        narrow: Loads and copies of less than 16 bytes.
    """

    instructions: int
    kinds: dict[str, int]
    narrow: int

    @property
    def share(self) -> float:
        """The part of its instructions that multiplies."""
        return self.kinds.get("multiplies", 0) / self.instructions


@dataclass(frozen=True)
class _Listed:
    """An instruction: its name with what is behind points, and where it may jump to."""

    name: str
    target: str

    @property
    def kind(self) -> str:
        return _KINDS.get(self.name.partition(".")[0], "others")

    @property
    def narrow(self) -> bool:
        return self.name.partition(".")[0] in _WIDE and ".128" not in self.name


def loops_of(code: bytes) -> dict[str, Loop]:
    """The loop of each kernel of a cubin that has one.

    Raises:
        ToolchainError: The disassembler is missing or refuses.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [_disassembler(), "-c", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError("nvdisasm does not read the kernels", why=done.stderr.strip())
    return loops_in(done.stdout)


def loops_in(listing: str) -> dict[str, Loop]:
    """The same of nvdisasm's listing."""
    found: dict[str, Loop] = {}
    for text in re.split(r"(?m)^\.text\.", listing)[1:]:
        name, _, body = text.partition(":")
        loop = _hottest(body)
        if loop is not None:
            found[name] = loop
    return found


def _hottest(body: str) -> Loop | None:
    listed: list[_Listed] = []
    labels: dict[str, int] = {}
    for line in body.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(listed)
        elif (found := _INSTRUCTION.match(line)) and found[1] not in ("@!PT", "@!UPT"):
            target = re.search(r"\.(L_\w+)", found[3]) if found[2].startswith("BRA") else None
            listed.append(_Listed(found[2], target[1] if target else ""))
    spans = [
        (start, end)
        for end, each in enumerate(listed)
        if each.target and (start := labels.get(each.target, end + 1)) <= end
    ]
    loops = [(span, _loop(listed[span[0] : span[1] + 1])) for span in spans]
    hot = [(span, loop) for span, loop in loops if loop.kinds.get("multiplies", 0)]
    inner = [
        loop
        for (start, end), loop in hot
        if not any(start <= a and b <= end and (a, b) != (start, end) for (a, b), _ in hot)
    ]
    return max(inner, key=lambda loop: loop.kinds["multiplies"], default=None)


def _loop(listed: list[_Listed]) -> Loop:
    kinds = Counter(each.kind for each in listed)
    return Loop(len(listed), dict(kinds), sum(each.narrow for each in listed))


def _disassembler() -> str:
    """Where NVIDIA's disassembler is.

    Raises:
        ToolchainError: Nowhere.
    """
    if found := shutil.which("nvdisasm"):
        return found
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for file in sorted(Path(folder).glob("*/bin/nvdisasm")):
            return str(file)
    raise ToolchainError("there is no nvdisasm", why=f"{PACKAGE} is not installed",
                         hint=f"pip install {PACKAGE}")  # fmt: skip
