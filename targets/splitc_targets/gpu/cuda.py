# SPDX-License-Identifier: Apache-2.0
"""CUDA source to a GPU's own code, by NVIDIA's runtime compiler: no GPU is needed, nor a toolkit.

`pip install nvidia-cuda-nvrtc` brings the compiler as a library (`splitc[cuda]` does).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import threading
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from splitc.errors import ToolchainError

PACKAGE = "nvidia-cuda-nvrtc"
LICENCE = "LicenseRef-NVIDIA-Proprietary"
"""As its metadata has it: the CUDA Toolkit's end user licence agreement, whose Attachment A lets
libdevice be distributed in what it is compiled into."""
_lock = threading.Lock()
_Call = Callable[..., int]

OURS = "// What kernels call.\n"
"""A line of a source behind which nothing is TVM's headers."""

_PRELUDE = """\
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define CUDART_INF_F __int_as_float(0x7f800000)
#define CUDART_NAN_F __int_as_float(0x7fffffff)
#define CUDART_INF __longlong_as_double(0x7ff0000000000000)
#define CUDART_NAN __longlong_as_double(0x7fffffffffffffff)
"""
"""What kernels need of the headers that TVM's source includes: the compiler alone has none."""


@dataclass(frozen=True)
class Usage:
    """What a kernel takes of a multiprocessor, as the assembler says.

    Args:
        registers: Of a thread.
        shared_bytes: Of a block.
        spill_bytes: Stored to and loaded from memory for want of registers.
        stack_bytes: Of a thread's frame in memory.
    """

    registers: int
    shared_bytes: int
    spill_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class Cubin:
    """A GPU's code, and what each kernel of it takes."""

    code: bytes
    usage: dict[str, Usage]


def compiler_version() -> str:
    """The compiler's release.

    Raises:
        ToolchainError: It is not installed.
    """
    try:
        return version(PACKAGE)
    except PackageNotFoundError as error:
        raise _missing() from error


def require(arch: str) -> None:
    """Raise where there is no compiler for an architecture.

    Raises:
        ToolchainError: It is not installed, or makes no code for it.
    """
    known = architectures()
    if arch not in known:
        why = f"{PACKAGE} {compiler_version()} makes it for {', '.join(known)}"
        hint = "a release of its before 13 makes code for older GPUs"
        raise ToolchainError(f"the CUDA compiler makes no code for {arch}", why=why, hint=hint)


def architectures() -> tuple[str, ...]:
    """What the compiler makes code for, oldest first.

    Raises:
        ToolchainError: It is not installed.
    """
    compiler, count = _compiler(), c_int()
    _done(compiler.nvrtcGetNumSupportedArchs(byref(count)), "say what it makes code for")
    numbers = (c_int * count.value)()
    _done(compiler.nvrtcGetSupportedArchs(numbers), "say what it makes code for")
    return tuple(f"sm_{number}" for number in numbers)


def compile_source(source: str, arch: str) -> Cubin:
    """Compile kernels.

    The assembler chooses how many blocks a multiprocessor should hold of a kernel, and spills a
    few registers to reach it. What does so is compiled again for one block at least.

    Args:
        source: As TVM writes them, and behind `OURS` what they call.
        arch: Of the GPU, as "sm_90".

    Raises:
        ToolchainError: The compiler is missing or refuses.
    """
    text = _PRELUDE + source[_start(source) :]
    made = _compiled(text, arch)
    spilled = [name for name, usage in made.usage.items() if usage.spill_bytes]
    return _compiled(_for_one_block(text, spilled), arch) if spilled else made


def _for_one_block(text: str, names: Sequence[str]) -> str:
    """The source, its bounds of those kernels with the least number of blocks beside threads."""
    bounds = rf"__launch_bounds__\((\d+)\)(?= (?:{'|'.join(names)})\()"
    return re.sub(bounds, r"__launch_bounds__(\1, 1)", text)


def _compiled(text: str, arch: str) -> Cubin:
    compiler = _compiler()
    options = (
        f"--gpu-architecture={arch}", "--std=c++17", "--ptxas-options=--verbose",
        "--extra-device-vectorization",
    )  # fmt: skip
    with _lock:
        program = c_void_p()
        name = b"kernels.cu"
        _done(
            compiler.nvrtcCreateProgram(byref(program), text.encode(), name, 0, None, None), "begin"
        )
        try:
            given = (c_char_p * len(options))(*(option.encode() for option in options))
            failed = compiler.nvrtcCompileProgram(program, len(options), given)
            log = _text(compiler.nvrtcGetProgramLogSize, compiler.nvrtcGetProgramLog, program)
            if failed:
                lines = [line for line in log.splitlines() if "error" in line] or [log]
                why = lines[0].strip()[:300] or f"it ends with status {failed}"
                raise ToolchainError(f"the CUDA compiler refuses code for {arch}", why=why)
            code = _bytes(compiler.nvrtcGetCUBINSize, compiler.nvrtcGetCUBIN, program)
        finally:
            compiler.nvrtcDestroyProgram(byref(program))
    return Cubin(code, usage_of(log))


def _start(source: str) -> int:
    """Where what is ours begins: what the kernels call, or else the kernels."""
    found = source.find(OURS)
    return found if found >= 0 else source.index('extern "C"')


_ENTRY = re.compile(r"Function properties for (\w+)")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(.*)")
_SHARED = re.compile(r"(\d+) bytes smem")


def usage_of(log: str) -> dict[str, Usage]:
    """What the assembler's log says of each kernel."""
    found: dict[str, Usage] = {}
    name, stack, spilled = "", 0, 0
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            name = match[1]
        elif match := _FRAME.search(line):
            stack, spilled = int(match[1]), int(match[2]) + int(match[3])
        elif match := _USED.search(line):
            shared = _SHARED.search(match[2])
            bytes_ = int(shared[1]) if shared else 0
            found[name] = Usage(int(match[1]), bytes_, spilled, stack)
    return found


def _done(status: int, what: str) -> None:
    if status:
        raise ToolchainError(f"the CUDA compiler does not {what}", why=f"status {status}")


def _bytes(size_of: _Call, get: _Call, program: c_void_p) -> bytes:
    size = c_size_t()
    _done(size_of(program, byref(size)), "give its result")
    held = ctypes.create_string_buffer(max(1, size.value))
    _done(get(program, held), "give its result")
    return held.raw[: size.value]


def _text(size_of: _Call, get: _Call, program: c_void_p) -> str:
    return _bytes(size_of, get, program).rstrip(b"\0").decode(errors="replace")


@functools.cache
def _compiler() -> ctypes.CDLL:
    path = next((each for each in _candidates() if each.exists()), None)
    if path is None:
        raise _missing()
    try:
        return _declared(ctypes.CDLL(str(path)))
    except OSError as error:
        raise ToolchainError("the CUDA compiler cannot be loaded", why=str(error)) from error


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer = c_void_p
    for name in ("nvrtcCompileProgram", "nvrtcGetProgramLogSize", "nvrtcGetProgramLog",
                 "nvrtcGetCUBINSize", "nvrtcGetCUBIN"):  # fmt: skip
        getattr(library, name).restype = c_int
    library.nvrtcCreateProgram.argtypes = [pointer, c_char_p, c_char_p, c_int, pointer, pointer]
    library.nvrtcDestroyProgram.argtypes = [pointer]
    return library


def _candidates() -> Sequence[Path]:
    """Where pip puts the compiler's library, newest first."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = [path for root in roots for path in Path(root).glob("*/lib/libnvrtc.so.*")]
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])[::-1]


def _missing() -> ToolchainError:
    return ToolchainError(
        "the CUDA compiler is missing",
        why=f"code for NVIDIA's GPUs is compiled by {PACKAGE}",
        hint="pip install 'splitc[cuda]'",
    )
