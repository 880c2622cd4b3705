# SPDX-License-Identifier: Apache-2.0
"""Where do others' runtimes for AArch64 come from? Debian's arm64 Python and wheels, in a folder.

Nothing is installed: packages are fetched by apt and pip, and unpacked. Run on Debian.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from splitc.errors import ToolchainError

PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgomp1")
WHEELS = ("numpy<2.3", "ncnn", "ai-edge-litert")
_CORE = """processor\t: {number}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: {revision}

"""
_CORES = {
    "rpi4": {"features": "fp asimd evtstrm crc32 cpuid", "variant": "0x0", "part": "0xd08",
             "revision": 3},
    "rpi5": {"features": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid "
             "asimdrdm lrcpc dcpop asimddp", "variant": "0x4", "part": "0xd0b", "revision": 1},
}  # fmt: skip
"""What Linux says of the cores: a Cortex-A72's and a Cortex-A76's."""


def make_root(folder: Path, board: str = "rpi4") -> Path:
    """A system root in that folder, made once: qemu opens files of it before the machine's own.

    Its /proc/cpuinfo is that board's, as LiteRT chooses kernels by it.

    Raises:
        ToolchainError: apt, dpkg or pip fails.
    """
    root = folder / "root"
    cpuinfo = root / "proc" / "cpuinfo"
    if not cpuinfo.is_file():
        _unpack_packages(folder.resolve(), root)
        _unpack_wheels(folder, root / "site")
        cpuinfo.parent.mkdir(exist_ok=True)
    cores = "".join(_CORE.format(number=number, **_CORES[board]) for number in range(4))
    cpuinfo.write_text(cores, "utf-8")  # last: the folder is whole
    return root


def python(root: Path) -> str:
    """The root's Python."""
    return str(root / "usr" / "bin" / "python3.11")


def _unpack_packages(folder: Path, root: Path) -> None:
    """Packages and what they need, by an apt whose architecture is arm64."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        'APT::Architecture "arm64";\nAPT::Architectures "arm64";\n'
        f'Dir::State::lists "{folder}/lists";\nDir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache";\n',
        "utf-8",
    )
    env = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    _run(["apt-get", "update", "-qq"], env)
    fetch = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "--download-only"]
    _run([*fetch, *PACKAGES], env)
    for package in sorted((folder / "cache" / "archives").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(root)], env)


def _unpack_wheels(folder: Path, site: Path) -> None:
    """Wheels for Python 3.11 of a system with glibc 2.28."""
    releases = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux2014")
    platforms = [word for release in releases for word in ("--platform", f"{release}_aarch64")]
    _run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
         "--python-version", "311", *platforms, "-d", str(folder / "wheels"), *WHEELS],
        dict(os.environ),
    )  # fmt: skip
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(site)


def _run(command: list[str], env: dict[str, str]) -> None:
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolchainError(f"{command[0]} is not here", hint="run this on Debian") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        raise ToolchainError(f"{command[0]} fails", at=" ".join(command[:3]), why=said[-1])
