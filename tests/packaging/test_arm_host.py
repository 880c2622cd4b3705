# SPDX-License-Identifier: Apache-2.0
"""splitc on a 64-bit ARM host: Debian's Python for arm64 under qemu, with wheels for it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.scratch import owned
from splitc.serve.server import Server
from tests.packaging.conftest import done, uv

DEBIAN = (
    "libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8", "libgcc-s1", "liblzma5",
    "libpython3.11-minimal", "libpython3.11-stdlib", "libsqlite3-0", "libssl3", "libstdc++6",
    "libuuid1", "python3.11-minimal", "zlib1g",
)  # fmt: skip
WHEELS = ("msgspec", "networkx", "numpy", "rich", "typer")
"""What running and sending load: no compiler and no onnx."""
PLATFORM = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.11",
            "--only-binary", ":all:")  # fmt: skip
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "splitc-tests"


def download_python(folder: Path) -> None:
    """Debian's Python 3.11 for arm64 with its libraries, into a folder; nothing is installed."""
    for name in ("state/lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True)
    apt = (
        "apt-get", "-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64",
        "-o", f"Dir::State={folder}/state", "-o", "Dir::State::status=/dev/null",
        "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User=",
    )  # fmt: skip
    done(*apt, "update", cwd=folder)
    done(*apt, "download", *DEBIAN, cwd=folder / "debs")
    for package in (folder / "debs").iterdir():
        done("dpkg", "-x", package, folder / "root", cwd=folder)
    for name in ("state", "cache", "debs"):
        shutil.rmtree(folder / name)


@pytest.fixture(scope="module")
def arm_root(qemu: None) -> Path:
    """The folder that Debian's Python for arm64 is in, kept from one run to the next."""
    if shutil.which("apt-get") is None:
        pytest.skip("there is no apt-get to fetch Debian's Python for arm64 with")
    root = CACHE / "arm64-python3.11"
    if not root.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with owned(CACHE) as folder:
            download_python(folder)
            (folder / "root").rename(root)
    return root


class ArmHost:
    """A Python for arm64 with splitc's wheel in it.

    Args:
        root: Debian's files.
        site: The folder of packages.
    """

    def __init__(self, root: Path, site: Path) -> None:
        self._python = ("qemu-aarch64-static", "-L", root, root / "usr" / "bin" / "python3.11")
        self._site = site

    def run(self, *arguments: str | Path, cwd: Path) -> str:
        """What Python prints."""
        return done(*self._python, *arguments, cwd=cwd, PYTHONPATH=str(self._site))


@pytest.fixture(scope="module")
def arm(arm_root: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> ArmHost:
    site = tmp_path_factory.mktemp("arm-site")
    uv("pip", "install", "--quiet", "--target", site, *PLATFORM, *WHEELS, cwd=site)
    uv("pip", "install", "--quiet", "--target", site, *PLATFORM, "--no-deps", wheel, cwd=site)
    return ArmHost(arm_root, site)


def test_everything_that_splitc_needs_has_a_wheel_for_arm(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text(f"splitc[serve] @ file://{wheel}\n", "utf-8")
    got = uv("pip", "compile", "--quiet", *PLATFORM, "wanted.txt", cwd=tmp_path)
    assert {"apache-tvm", "onnxruntime", "ziglang"} <= {
        line.split("==")[0] for line in got.splitlines()
    }


def test_an_arm_host_runs_both_parts(arm: ArmHost, small_onnx: Path, tmp_path: Path) -> None:
    bundle = splitc.compile(
        small_onnx, cut="block_add", head="rpi4", tail="rpi4", output=tmp_path / "both.splitc"
    )
    frame = np.random.default_rng(5).standard_normal((1, 3, 12, 12), np.float32)
    np.save(tmp_path / "x.npy", frame)
    said = arm.run(
        "-m", "splitc", "run", "both.splitc", "--input", "x.npy", "--out", "out", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(said)["frames"] == 1
    right = bundle.run(frame)["y"]  # by the twins of both parts, on this machine
    np.testing.assert_allclose(np.load(tmp_path / "out" / "0.npy"), right, rtol=1e-4, atol=1e-5)


def test_an_arm_host_sends_to_a_server_elsewhere(
    arm: ArmHost, compiled: Bundle, tmp_path: Path
) -> None:
    frames = np.random.default_rng(6).standard_normal((2, 1, 3, 12, 12), np.float32)
    np.save(tmp_path / "x.npy", frames)
    with Server([compiled.path]) as server:
        said = arm.run(
            "-m", "splitc", "send", compiled.path, "--to", str(server.address), "--input",
            "x.npy", "--out", "out", "--json", cwd=tmp_path,
        )  # fmt: skip
    assert json.loads(said)["answered"] == 2
    right = compiled.run(frames)["y"]
    np.testing.assert_allclose(np.load(tmp_path / "out" / "0.npy"), right, rtol=1e-4, atol=1e-5)
