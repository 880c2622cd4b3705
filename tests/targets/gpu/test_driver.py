# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Parts for CUDA through the code that calls NVIDIA's driver, the driver's place taken by
libcuda.c: it refuses what a driver may refuse, counts what it gave, and computes by OpenCL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cost.board import Board, Gpu, load_board
from splitc_targets.link.toolchain import zig
from tests.helpers import ROOT
from tests.targets.gpu.device import compiled, needs_opencl
from tests.targets.nets import Net

pytestmark = needs_opencl

NAME, ARCH = "cuda-sm90", "sm_90"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a driver, and of one that is too old."""
    folder = tmp_path_factory.mktemp("driver")
    source = str(Path(__file__).with_name("libcuda.c"))
    for name, more in (("new", []), ("old", ["-DcuGraphInstantiateWithFlags=unknown"])):
        (folder / name).mkdir()
        zig(
            "cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-fvisibility=hidden", *more,
            "-Wl,-soname,libcuda.so.1", "-o", str(folder / name / "libcuda.so.1"), source, "-ldl",
        )  # fmt: skip
    return folder


@dataclass(frozen=True)
class Made:
    """A bundle all of which is for a GPU, and its kernels in OpenCL."""

    bundle: Bundle
    twin: Path
    driver: Path
    scratch: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Of a process whose driver that is."""
        here = {
            "LD_LIBRARY_PATH": str(self.driver / "new"), "CUDA_TWIN": str(self.twin),
            "CUDA_REPORT": str(self.scratch / "report"),
        }  # fmt: skip
        return os.environ | here | more

    def run(self, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The runner on the golden input."""
        part = self.bundle.path / "tail"
        frame = str(self.bundle.path / "golden/boundary/0.npy")
        return subprocess.run(
            [str(part / "splitc-run"), *options, frame], capture_output=True, text=True,
            env=self.environment(**more), check=False,
        )  # fmt: skip

    def python(self, code: str, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """A program in Python."""
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False,
            cwd=ROOT, env=self.environment(BUNDLE=str(self.bundle.path)),
        )  # fmt: skip

    @property
    def report(self) -> str:
        """What was wrong, and what was left when the process ended."""
        return (self.scratch / "report").read_text("utf-8").strip()


@pytest.fixture(scope="session")
def made(driver: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    net = Net(0)
    x = net.op("Relu", net.op("Conv", net.input(1, 3, 9, 9), net.random(8, 3, 3, 3)))
    x = net.op("Flatten", net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    net.outputs = [net.op("Softmax", net.op("MatMul", x, net.random(72, 10) * 0.1), axis=1)]
    folder = tmp_path_factory.mktemp("cuda")
    path = folder / "net.onnx"
    path.write_bytes(net.proto().SerializeToString())
    bundle = splitc.compile(
        path, cut="server", head="host", tail=NAME, output=folder / "net.splitc"
    )
    (folder / "twin.cl").write_text(compiled(net.proto(), _in_opencl()).program.source, "utf-8")
    return Made(bundle, folder / "twin.cl", driver, folder)


def _in_opencl() -> Board:
    """The same GPU, were it OpenCL's: its kernels are the same."""
    board = load_board(NAME)
    assert isinstance(board.unit, Gpu)
    return msgspec.structs.replace(board, unit=msgspec.structs.replace(board.unit, api="opencl"))


def test_the_runner_computes_by_the_driver_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    done = made.run("--repeat", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["part"] == "tail"
    got = np.load(tmp_path / "0.npy")
    np.testing.assert_allclose(got, np.load(made.bundle.path / "golden/outputs/0.npy"), atol=1e-6)
    assert made.report == "right"


@dataclass(frozen=True)
class Fails:
    """What is wrong with a driver, and what a user is told.

    Args:
        told: Words of the line.
        more: Variables of the process.
        driver: Which.
        device: The one that is asked for.
    """

    told: str
    more: dict[str, str]
    driver: str = "new"
    device: str = "cuda"


FAILS = {
    "too old": Fails(
        "the CUDA driver is too old: CUDA 11.4 or later is needed, it lacks: "
        "cuGraphInstantiateWithFlags", {}, "old",
    ),
    "absent": Fails("there is no CUDA driver here: libcuda.so.1 cannot be opened", {}, "none"),
    "it does not start": Fails(
        "the CUDA driver does not start: no CUDA-capable device", {"CUDA_FAIL": "cuInit:1:100"}
    ),
    "one GPU": Fails("no such CUDA GPU, counted from 0: 3 of 1", {}, device="cuda:3"),
    "another GPU": Fails("the part is for sm_90, the GPU here is sm_86", {"CUDA_ARCH": "86"}),
    "memory": Fails(
        "the GPU's memory is short: 1920 bytes are wanted, 224 of 4000 are free",
        {"CUDA_MEMORY": "4000"},
    ),
    "no stream": Fails("the GPU cannot be used", {"CUDA_FAIL": "cuStreamCreate:1:1"}),
    "weights": Fails("weights cannot be copied", {"CUDA_FAIL": "cuMemcpyHtoDAsync_v2:1:719"}),
    "code": Fails(
        "the driver does not load the part's code: no kernel image",
        {"CUDA_FAIL": "cuModuleLoadData:1:209"},
    ),
    "a kernel": Fails(
        "the part's kernels cannot be started", {"CUDA_FAIL": "cuModuleGetFunction:2:500"}
    ),
    "a launch": Fails(
        "the part's kernels cannot be started: unspecified launch failure",
        {"CUDA_FAIL": "cuLaunchKernel:2:719"},
    ),
    "a graph": Fails(
        "the part's kernels cannot be started", {"CUDA_FAIL": "cuGraphInstantiateWithFlags:1:1"}
    ),
    "a run": Fails(
        "the GPU fails: unspecified launch failure", {"CUDA_FAIL": "cuStreamSynchronize:2:719"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILS)
def test_what_fails_is_told_in_a_line(made: Made, name: str) -> None:
    fails = FAILS[name]
    done = made.run(
        "--device", fails.device, **fails.more, LD_LIBRARY_PATH=str(made.driver / fails.driver)
    )
    assert done.returncode == 8
    assert fails.told in done.stderr
    assert done.stderr.startswith("splitc-run: model.so: ")
    assert done.stderr.count("\n") == 1


_EACH_FAILURE = """
import ctypes, os, sys
from pathlib import Path
from splitc.errors import DeviceError
from splitc.runtime.part import load_part
driver = ctypes.CDLL("libcuda.so.1")
driver.double_state.restype = ctypes.c_char_p
for plan in sys.argv[1:]:
    os.environ["CUDA_FAIL"] = plan
    ctypes.c_int.in_dll(driver, "double_seen").value = 0
    try:
        load_part(Path(os.environ["BUNDLE"]) / "tail")
        print(plan, "is no failure")
    except DeviceError as error:
        assert "did not run" in str(error), error
    state = driver.double_state().decode()
    if state != "right":
        print(plan, state)
"""


def test_whatever_fails_while_a_part_is_loaded_nothing_is_left(made: Made) -> None:
    plans = [
        "cuDevicePrimaryCtxRetain:1:2", "cuCtxPushCurrent_v2:1:1", "cuStreamCreate:1:1",
        *(f"cuMemAlloc_v2:{k}:2" for k in (1, 2, 3, 4)), "cuMemcpyHtoDAsync_v2:1:719",
        "cuStreamSynchronize:1:719", "cuModuleLoadData:1:209", "cuModuleGetFunction:2:500",
        "cuStreamBeginCapture_v2:1:1", *(f"cuLaunchKernel:{k}:1" for k in (1, 2, 3)),
        "cuGraphInstantiateWithFlags:1:2",
    ]  # fmt: skip
    done = made.python(_EACH_FAILURE, plans)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


_AT_ONCE = """
import ctypes, os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from splitc.errors import DeviceError
from splitc.runtime.part import load_part
driver = ctypes.CDLL("libcuda.so.1")
driver.double_state.restype = ctypes.c_char_p
bundle = Path(os.environ["BUNDLE"])
x = np.load(bundle / "golden/inputs/0.npy")[0]
frames = [x * k for k in range(16)]
with load_part(bundle / "tail") as part, load_part(bundle / "tail") as other:
    alone = [part.run([x])[0] for x in frames]
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda k: (part, other)[k % 2].run([frames[k]])[0], range(16)))
    for one, same in zip(alone, several, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not any(np.array_equal(alone[0], each) for each in alone[1:])
    os.environ["CUDA_FAIL"] = "cuGraphLaunch:1:719"
    try:
        part.run([x])
        print("a launch that failed gave a result")
    except DeviceError as error:
        assert error.why == "the GPU fails: unspecified launch failure", error
    np.testing.assert_array_equal(part.run([x])[0], alone[1])
    current = ctypes.c_void_p()
    driver.cuCtxGetCurrent(ctypes.byref(current))
    assert current.value is None
    print(driver.double_state().decode())
print(driver.double_state().decode())
"""


def test_two_loaded_parts_called_at_once_from_threads_keep_their_results_apart(made: Made) -> None:
    done = made.python(_AT_ONCE)
    assert done.returncode == 0, done.stderr
    loaded, closed = done.stdout.splitlines()
    assert loaded.startswith("right, ")
    assert loaded.endswith("2 module, 2 stream, 2 executable, a context 2 times")
    assert closed == "right"
