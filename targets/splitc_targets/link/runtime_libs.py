# SPDX-License-Identifier: Apache-2.0
"""TVM's two runtime libraries for an ISA: fetched once through pip, checked, cached."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from splitc.errors import ToolchainError
from splitc.scratch import scratch
from splitc_targets.link.cache import cached

TVM = "0.27.0.post1"
FFI = "0.1.15.post2"

_WHEELS = {
    "libtvm_ffi.so": (f"apache-tvm-ffi=={FFI}", "tvm_ffi/lib/libtvm_ffi.so"),
    "libtvm_runtime.so": (f"apache-tvm=={TVM}", "tvm/lib/libtvm_runtime.so"),
}

_SHA256 = {
    # Of the libraries in the wheels of these releases for CPython 3.11.
    ("x86_64", "libtvm_ffi.so"):
        "c33ef5349896abfd0c5d6994e028ce3b72a343e3e7a29c1030fe093054b656ea",
    ("x86_64", "libtvm_runtime.so"):
        "43544bbeaea3cd3ffa919f7eac77244753aff28d1440c42f1ba8df03fa6e3948",
    ("aarch64", "libtvm_ffi.so"):
        "c4c51b8793866b704dcefd12a2f127c691b905977962f0970a112b4df5f9ea07",
    ("aarch64", "libtvm_runtime.so"):
        "ba06950fac134b8d71549111fad2c6605cd6f738061fe0482f217c37ccbdff05",
}  # fmt: skip

LIBRARIES = tuple(_WHEELS)
"""In load order."""


@dataclass(frozen=True)
class RuntimeLibs:
    """The libraries and their licences.

    Args:
        libraries: Paths in load order.
        licenses: Licence files by the name they get in a bundle.
    """

    libraries: tuple[Path, ...]
    licenses: dict[str, Path]


@functools.cache
def runtime_libs(isa: str) -> RuntimeLibs:
    """The runtime libraries for an ISA, from the cache, this installation or pip.

    Args:
        isa: `x86_64` or `aarch64`.

    Raises:
        ToolchainError: They cannot be fetched, or are not the files known.
    """
    if (isa, LIBRARIES[0]) not in _SHA256:
        raise ToolchainError(f"no runtime libraries are known for {isa}")
    folder = cached(f"runtime/tvm-{TVM}-ffi-{FFI}-{isa}", lambda new: _fill(new, isa))
    for name in LIBRARIES:
        _check(folder / name, isa, name)
    licenses = {path.name: path for path in sorted((folder / "LICENSES").iterdir())}
    return RuntimeLibs(tuple(folder / name for name in LIBRARIES), licenses)


def _fill(folder: Path, isa: str) -> None:
    (folder / "LICENSES").mkdir()
    for name, (requirement, member) in _WHEELS.items():
        if not _from_installation(folder, isa, name, member):
            _from_pip(folder, isa, name, requirement, member)
        _check(folder / name, isa, name)


def _from_installation(folder: Path, isa: str, name: str, member: str) -> bool:
    """Copy from the installed packages when they hold the very same file."""
    package = member.split("/", 1)[0]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    site = Path(spec.origin).parent.parent
    path = site / member
    infos = sorted(site.glob(f"apache_{package}-*.dist-info/licenses/*"))
    if not path.is_file() or not infos or _sha256(path) != _SHA256[isa, name]:
        return False
    (folder / name).write_bytes(path.read_bytes())
    for info in infos:
        (folder / "LICENSES" / f"apache-{package}-{info.name}").write_bytes(info.read_bytes())
    return True


def _from_pip(folder: Path, isa: str, name: str, requirement: str, member: str) -> None:
    package = member.split("/", 1)[0]
    with scratch() as temporary:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
            "--implementation", "cp", "--abi", "cp311", "--abi", "none",
            *(f"--platform=manylinux_2_{minor}_{isa}" for minor in (28, 27, 24, 17)),
            "--dest", str(temporary), requirement,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(temporary.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
            raise ToolchainError(
                f"cannot fetch {name} for {isa}",
                at=requirement,
                why=lines[-1][:300],
                hint="is this machine offline? compile once with a network, or pass --runtime none",
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            (folder / name).write_bytes(wheel.read(member))
            for entry in wheel.namelist():
                if ".dist-info/licenses/" in entry and not entry.endswith("/"):
                    target = folder / "LICENSES" / f"apache-{package}-{Path(entry).name}"
                    target.write_bytes(wheel.read(entry))


def _check(path: Path, isa: str, name: str) -> None:
    if _sha256(path) != _SHA256[isa, name]:
        raise ToolchainError(
            f"{name} for {isa} is not the file this release knows",
            at=str(path),
            hint="delete the cache folder and try again",
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
