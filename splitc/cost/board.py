# SPDX-License-Identifier: Apache-2.0
"""Board files: what code is generated for, and the figures a cost model needs."""

from __future__ import annotations

import functools
import os
import platform
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from splitc.cost.gpu_driver import cuda_gpu, device_number
from splitc.cost.tile_registers import why_no_tiles
from splitc.errors import UsageError, nearest
from splitc.plugins import plugins

DETECT = "detect"
_LEVELS = {
    # x86-64 psABI, section 3.1.1; the flags of each level that the kernel lists.
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v4": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe",
                  "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}  # fmt: skip
_FEATURES = {
    # Products of bytes, by level: the kernel's flag, and the compiler's name.
    "x86-64-v3": {"avx_vnni": "+avxvnni"},
    "x86-64-v4": {"avx512_vnni": "+avx512vnni", "amx_int8": "+amx-int8"},
}  # fmt: skip
_ON_REQUEST = {
    # Products of less exact numbers, by level: nothing uses them that does not ask for it.
    "x86-64-v4": {"avx512_bf16": "+avx512bf16", "amx_bf16": "+amx-bf16"},
}
_ORDER = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
_FLAG_OF = {
    # What the runner asks the processor for: the compiler's name, and the kernel's flag.
    "+avxvnni": "avx_vnni", "+avx512vnni": "avx512_vnni", "+avx512bf16": "avx512_bf16",
    "+amx-bf16": "amx_bf16", "+amx-int8": "amx_int8",
    "+dotprod": "asimddp", "+fullfp16": "asimdhp",
}  # fmt: skip


_OF_TILES = "+amx-"
"""How the names of features begin whose code uses tiles."""

PositiveInt = Annotated[int, msgspec.Meta(gt=0, le=2**50)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0, le=1e18)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Share = Annotated[float, msgspec.Meta(gt=0, le=4)]
Precision = Literal["float32", "tf32", "float16", "bf16"]


class Efficiency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Share of the peak rate that kernels of each kind reach, in (0, 4].

    Above 1 is possible where an algorithm saves arithmetic: FLOPs are counted as by direct
    convolution, of which Winograd's F(4x4, 3x3) multiplies a quarter.
    """

    conv: Share
    conv1x1: Share
    conv3x3: Share
    depthwise: Share
    gemm: Share
    recurrent: Share
    pool: Share
    norm: Share
    elementwise: Share


class Cpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="cpu"):
    """A processor that code is made for.

    `cpu` and `features` are the compiler's names of the core and of what it has beside;
    `on_request` what it has too and code uses only at a `precision` that needs it. `glibc` is the
    oldest C library that code runs with. `core` is where the core differs from what its `cpu` is
    known to be, in the words of the pack that makes code for it. `precision` is what products
    are multiplied in.
    """

    isa: str
    triple: str
    cpu: str
    features: tuple[str, ...] = ()
    on_request: tuple[str, ...] = ()
    core: dict[str, Any] = {}
    glibc: str
    precision: Precision = "float32"


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="gpu"):
    """A graphics processor that code is made for, and the processor that starts its kernels.

    `arch` is the compiler's name of it, as `sm_90`; `memory_bytes` its own memory; `tensor` the
    multiply-adds that tensor cores of one of its multiprocessors do a cycle, by what they
    multiply in; `precision` what products are multiplied in.
    """

    api: Literal["cuda", "opencl", "vulkan"]
    arch: str
    memory_bytes: PositiveInt
    host: Cpu
    tensor: dict[Precision, PositiveFloat] = {}
    precision: Precision = "float32"


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A target machine, as a board file describes it: a unit that computes, and its figures.

    `clock_hz` times `flops_per_cycle` times `cores` is the unit's peak rate in FLOP/s;
    bandwidths are bytes a second, powers watts. `memory_bytes` is the machine's main memory.
    """

    name: str
    title: str
    unit: Cpu | Gpu
    cores: PositiveInt
    clock_hz: PositiveFloat
    flops_per_cycle: PositiveFloat
    memory_bytes: PositiveInt
    memory_bandwidth: PositiveFloat
    cache_bytes: PositiveInt
    cache_bandwidth: PositiveFloat
    layer_overhead_s: NotNegative
    compute_power_w: NotNegative
    transmit_power_w: NotNegative
    efficiency: Efficiency

    @property
    def processor(self) -> Cpu:
        """The processor that a part's process runs on: the unit, or a GPU's host."""
        return self.unit.host if isinstance(self.unit, Gpu) else self.unit

    @property
    def peak_flops(self) -> float:
        """Peak FLOP/s over all cores, single precision."""
        return self.clock_hz * self.flops_per_cycle * self.cores


def read_board(path: Path) -> Board:
    """Read one board file.

    Where it has `base = "rpi4"`, it is that installed board but for its name and what else
    the file says.

    Raises:
        UsageError: It cannot be read, or a field is missing, unknown or mistyped; all that are
            missing are named. Or there is no board of the name that it begins from.
    """
    return _board(_table(path), path.name)


@functools.cache
def boards() -> dict[str, Board]:
    """Every installed board by name, the packs' folders taken together."""
    return {name: read_board(path) for name, path in _files().items()}


def board_text(name: str) -> str:
    """An installed board's file, with where its figures are from.

    Raises:
        UsageError: There is no such board; the hint lists the nearest.
    """
    files = _files()
    if name not in files:
        raise UsageError(f"there is no target '{name}'", hint=nearest(name, files))
    return files[name].read_text("utf-8")


def _files() -> dict[str, Path]:
    """The installed boards' files by the boards' names."""
    paths = (path for folder in plugins().boards for path in sorted(folder.glob("*.toml")))
    return {str(_table(path).get("name", path.stem)): path for path in paths}


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read board file {path.name}", why=str(error)) from error


def _board(table: dict[str, Any], file: str) -> Board:
    whole = _with_base(table, file, ())
    try:
        return msgspec.convert(whole, Board)
    except msgspec.ValidationError as error:
        missing, why = _missing(whole, Board), str(error)
        if missing:
            lacks = f"it lacks {', '.join(missing)}"
            why = lacks if "missing required" in why else f"{why}; {lacks}"
        raise UsageError(f"board file {file}", why=why, hint=_EXAMPLE) from error


_EXAMPLE = (
    """a board that is much like another needs a few lines: base = "rpi4", name = "mine", and """
    "what differs, clock_hz = 2e9 say; `splitc targets --file rpi4` prints a whole one"
)


_TABLES = {"unit", "host", "efficiency"}


def _with_base(table: dict[str, Any], file: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """A board's table with what it takes from the board that it begins from."""
    if "base" not in table:
        return table
    base = str(table["base"])
    files = _files()
    if base not in files:
        hint = nearest(base, files)
        raise UsageError(f"there is no board '{base}' to begin from", at=file, hint=hint)
    if base in seen:
        raise UsageError(f"board '{base}' begins from itself", at=file)
    under = _with_base(_table(files[base]), files[base].name, (*seen, base))
    own = {key: value for key, value in table.items() if key != "base"}
    rest = {key: value for key, value in under.items() if key != "name"}
    return _merged({**rest, "title": f"{own.get('name', '')}, like {rest.get('title', base)}"}, own)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One table with another's values in the place of its own; another type's stands alone."""
    if over.get("type", under.get("type")) != under.get("type"):
        return over
    both = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict) and isinstance(over[key], dict):
            both[key] = _merged(under[key], over[key])
    return both


def _missing(table: dict[str, Any], kind: type[msgspec.Struct], at: str = "") -> list[str]:
    """Every field that a table lacks, those of tables in it with their names before."""
    fields = msgspec.structs.fields(kind)
    found = [f"{at}{one.name}" for one in fields if one.required and one.name not in table]
    for key in _TABLES & table.keys():
        if isinstance(table[key], dict):
            below = cast("dict[str, Any]", table[key])
            gpu = key == "unit" and below.get("type") == "gpu"
            inner = Efficiency if key == "efficiency" else Gpu if gpu else Cpu
            found += _missing(below, inner, f"{at}{key}.")
    return found


def resolve(board: Board) -> Board:
    """The board with what it leaves to detection found out: cores and ISA level, or the GPU.

    Raises:
        UsageError: This machine's instruction set is none that splitc builds for.
        DeviceError: There is no CUDA driver here, or no GPU.
    """
    if isinstance(board.unit, Gpu) and board.unit.arch == DETECT:
        return _of_gpu(board, board.unit)
    processor = board.processor
    if processor.cpu != DETECT:
        return board
    level = x86_level()
    if level is None:
        hint = "name a board: `splitc targets` lists them"
        raise UsageError(f"the target '{board.name}' is for x86-64 machines", hint=hint)
    found = msgspec.structs.replace(
        processor, cpu=level, features=x86_features(level),
        on_request=_named_of(_ON_REQUEST, level),
    )  # fmt: skip
    return msgspec.structs.replace(
        board, unit=found, cores=os.cpu_count() or 1,
        flops_per_cycle=boards()[level].flops_per_cycle,
    )  # fmt: skip


def _of_gpu(board: Board, unit: Gpu) -> Board:
    """The board of this machine's GPU; what its driver does not know is the likest board's."""
    found = cuda_gpu(device_number("cuda"))
    known = [each for each in boards().values() if isinstance(each.unit, Gpu)]
    hosts = {each.processor.isa: each.processor for each in known}
    cuda = sorted(
        (int(each.unit.arch[3:]), each.name) for each in known
        if isinstance(each.unit, Gpu) and each.unit.arch.startswith("sm_")
    )  # fmt: skip
    older = [name for arch, name in cuda if arch <= int(found.arch[3:])]
    like = boards()[older[-1] if older else cuda[0][1]]
    bandwidth = found.memory_bandwidth or like.memory_bandwidth
    return msgspec.structs.replace(
        like, name=board.name, title=f"{found.name} ({found.arch}), as its driver describes it",
        unit=msgspec.structs.replace(
            unit, arch=found.arch, memory_bytes=found.memory_bytes,
            host=hosts.get(host_isa(), unit.host),
            tensor=_tensor_rates(like, found.name),
        ),
        cores=found.multiprocessors, clock_hz=found.clock_hz,
        flops_per_cycle=found.flops_per_cycle, memory_bytes=found.memory_bytes,
        memory_bandwidth=bandwidth, cache_bytes=found.cache_bytes,
        cache_bandwidth=bandwidth * like.cache_bandwidth / like.memory_bandwidth,
    )  # fmt: skip


def _tensor_rates(like: Board, name: str) -> dict[Precision, float]:
    """Multiply-adds a cycle of a GPU's tensor cores: those of the board that it is like, half of
    them on GeForce cards, where sums are in float32.

    References:
        "NVIDIA Ampere GA102 GPU Architecture": GeForce RTX 3080, 119 TFLOPS in float16 with sums
        in float16, 59.5 with sums in float32. The same is assumed of the other GeForce cards.
    """
    assert isinstance(like.unit, Gpu)
    share = 0.5 if "GeForce" in name else 1.0
    return {precision: share * rate for precision, rate in like.unit.tensor.items()}


def is_detected(board: Board) -> bool:
    """Whether a resolved board is what the machine that asked happens to be."""
    known = boards().get(board.name)
    if known is None:
        return False
    return DETECT in (known.processor.cpu, getattr(known.unit, "arch", ""))


def x86_level() -> str | None:
    """The highest x86-64 level this machine has; None where it is no x86-64."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    flags = _flags()
    has = {level: needs <= flags for level, needs in _LEVELS.items()}
    return max((level for level in has if has[level]), default="x86-64-v2")


def x86_features(level: str) -> tuple[str, ...]:
    """What this machine has beyond its level and code can use, as the compiler names it."""
    return _named_of(_FEATURES, level)


def _named_of(table: Mapping[str, Mapping[str, str]], level: str) -> tuple[str, ...]:
    """The compiler's names of what a table has for a level and this machine has, and gives."""
    flags = _flags()
    found = [name for flag, name in table.get(level, {}).items() if flag in flags]
    return tuple(n for n in found if not (n.startswith(_OF_TILES) and why_no_tiles()))


def host_isa() -> str:
    """This machine's ISA as splitc names it."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(m := platform.machine().lower(), m)


def why_not_here(isa: str, cpu: str, features: Sequence[str]) -> str:
    """Why this machine does not run code for a processor, as its runner would; "" where it does.

    Where the code uses tiles (AMX), this process may use them from then on.
    """
    if isa != host_isa():
        return f"it is for {isa}, this machine is {host_isa()}"
    level = x86_level()
    if level is not None and cpu:
        if cpu not in _ORDER:
            return f"the runner knows no level '{cpu}'"
        if _ORDER.index(cpu) > _ORDER.index(level):
            return f"it needs {cpu}, this machine has {level}"
    flags = _flags()
    lacking = [name for name in features if _FLAG_OF.get(name, "") not in {"", *flags}]
    if lacking:
        return f"it needs {lacking[0]}, which this machine's processor lacks"
    why = why_no_tiles() if any(name.startswith(_OF_TILES) for name in features) else ""
    return f"it needs tiles, and {why}" if why else ""


def _flags() -> set[str]:
    """The processor's flags, as the kernel names them."""
    return set(_cpuinfo("flags", "Features").split())


def processor_name() -> str:
    """What this machine's processor, or the board that it is on, is called; "" if nothing says."""
    try:
        return Path("/proc/device-tree/model").read_text("utf-8").strip("\0\n ")
    except (OSError, UnicodeDecodeError):
        return _cpuinfo("model name")


def _cpuinfo(*names: str) -> str:
    """What the kernel says of the first processor, under the first of some names that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((li.partition(":")[2].strip() for li in lines if li.startswith(names)), "")


def load_board(name: str | Board) -> Board:
    """The board of that name, or the one in the file at that path.

    Raises:
        UsageError: There is no such board; the hint lists the nearest.
    """
    if isinstance(name, Board):
        return resolve(name)
    if name.endswith(".toml"):
        return resolve(read_board(Path(name)))
    known = boards()
    if name not in known:
        raise UsageError(f"there is no target '{name}'", hint=nearest(name, known))
    return resolve(known[name])
