# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a compiled bundle that several tests read, and where emulation can run."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import splitc
from splitc.bundle.bundle import Bundle
from splitc.errors import ToolchainError
from splitc.runtime.process import find_emulator
from tests import skips
from tests.helpers import compile_routed, save, small_network, two_headed_network
from tests.once import once
from tests.warm_onnxsim import warm

os.environ.setdefault("SPLITC_VERIFY", "1")
# Two workers on two cores: PyTorch's threads must not spin for one that is not running, which
# takes six times what they compute. Read as PyTorch is imported, here and in what is started.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Ray otherwise keeps a token in the home folder that it finds at its first start, and looks for
# it in another where a test has one of its own.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
settings.register_profile("splitc", deadline=None)
settings.load_profile("splitc")


def pytest_configure(config: pytest.Config) -> None:
    """Under CI a test that is skipped without need is a failure."""
    if skips.guarded():
        config.pluginmanager.register(skips.Guard(), "splitc-skips")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Nothing that is collected is garbage before the end: it is not looked for among it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _onnxsim_is_imported_once() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    with warm():
        yield


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small residual network as a file."""
    return save(small_network(), tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture(scope="session")
def compiled(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network cut after its residual block, for rpi4 and this machine. Read only."""

    def make(folder: Path) -> None:
        splitc.compile(small_onnx, cut="block_add", head="rpi4", output=folder / "small.splitc")

    return Bundle.open(once(tmp_path_factory, "bundle", make) / "small.splitc")


@pytest.fixture(scope="session")
def two_headed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with two inputs and results, a two-tensor boundary, head for this machine."""

    def make(folder: Path) -> None:
        path = save(two_headed_network(), folder / "two.onnx")
        splitc.compile(path, cut="tanh", head="host", output=folder / "two.splitc")

    return Bundle.open(once(tmp_path_factory, "two", make) / "two.splitc")


@pytest.fixture(scope="session")
def routed(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network with two cuts, plain and in 8 bits: four routes, for here. Read only."""

    def make(folder: Path) -> None:
        compile_routed(small_onnx, folder / "routed.splitc")

    return Bundle.open(once(tmp_path_factory, "routed", make) / "routed.splitc")


@pytest.fixture
def bundle(compiled: Bundle, tmp_path: Path) -> Bundle:
    """A copy of the compiled bundle that a test may damage."""
    shutil.copytree(compiled.path, tmp_path / "small.splitc")
    return Bundle.open(tmp_path / "small.splitc")


@pytest.fixture(scope="session")
def qemu() -> None:
    """Skip where no ARM code can be emulated."""
    try:
        find_emulator("aarch64")
    except ToolchainError as error:
        pytest.skip(str(error))
