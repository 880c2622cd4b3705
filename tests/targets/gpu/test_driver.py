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
from splitc.serve.tails import Served
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
from splitc.serve.tails import Served
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
    assert 0 < part.kernel_seconds(3) < 60
    np.testing.assert_array_equal(part.run([x])[0], alone[1])
    current = ctypes.c_void_p()
    driver.cuCtxGetCurrent(ctypes.byref(current))
    assert current.value is None
    print(driver.double_state().decode())
with Served(bundle) as served:
    assert not served.stand_ins
    (tail,) = served.tails.values()
    np.testing.assert_array_equal(tail.run([[x]])[0][0], alone[1])
print(driver.double_state().decode())
"""


def test_two_loaded_parts_called_at_once_from_threads_keep_their_results_apart(made: Made) -> None:
    done = made.python(_AT_ONCE)
    assert done.returncode == 0, done.stderr
    loaded, closed = done.stdout.splitlines()
    assert loaded.startswith("right, ")
    assert loaded.endswith("2 module, 2 stream, 2 executable, a context 2 times")
    assert closed == "right"


_BOARDS = """
import json, msgspec, os, sys
from splitc.cost.board import is_detected, load_board
from splitc.errors import DeviceError
for setting in sys.argv[1:]:
    name, _, value = setting.partition("=")
    os.environ[name] = value
    try:
        board = load_board("host-gpu")
        print(json.dumps(msgspec.to_builtins(board) | {"detected": is_detected(board)}))
    except DeviceError as error:
        print(json.dumps({"error": error.what, "why": error.why}))
"""


def test_the_board_of_this_machines_gpu_has_its_drivers_figures(made: Made) -> None:
    arguments = [
        "CUDA_NAME=NVIDIA H100", "CUDA_ARCH=86", "CUDA_NAME=NVIDIA GeForce RTX 3080",
        "CUDA_ARCH=120", "CUDA_MEMORY_KHZ=0", "CUDA_CLOCK_KHZ=0", "SPLITC_DEVICE=cuda:1",
    ]  # fmt: skip
    done = made.python(_BOARDS, arguments)
    assert done.returncode == 0, done.stderr
    found = map(json.loads, done.stdout.splitlines())
    h100, ampere, geforce, blackwell, untold, clockless, absent = found
    # Per multiprocessor and cycle; with sums in float32 the GeForce's do 59.5 TFLOPS, not 119.
    assert ampere["unit"]["tensor"] == {"tf32": 256.0, "float16": 512.0}
    assert geforce["unit"]["tensor"] == {"tf32": 128.0, "float16": 256.0}
    like = load_board("cuda-sm90")
    assert h100["title"] == "NVIDIA H100 (sm_90), as its driver describes it"
    assert h100["detected"]
    assert h100["unit"]["arch"] == "sm_90"
    assert h100["unit"]["memory_bytes"] == h100["memory_bytes"] == 1 << 30
    assert h100["cores"] == 132
    assert h100["clock_hz"] == 1.98e9
    # Twice 2,619 MHz on a bus of 5,120 bits: the data sheet's 3.35 TB/s.
    assert h100["memory_bandwidth"] == pytest.approx(like.memory_bandwidth, rel=1e-3)
    assert h100["cache_bandwidth"] == pytest.approx(like.cache_bandwidth, rel=1e-3)
    assert h100["efficiency"] == msgspec.to_builtins(like.efficiency)
    assert ampere["unit"]["arch"] == "sm_86"
    assert ampere["compute_power_w"] == load_board("cuda-sm86").compute_power_w
    assert (blackwell["unit"]["arch"], blackwell["flops_per_cycle"]) == ("sm_120", 256)
    assert untold["memory_bandwidth"] == like.memory_bandwidth
    assert clockless["error"] == "the CUDA driver does not describe its GPU"
    assert (absent["error"], absent["why"]) == ("there is no CUDA GPU number 1", "there are 1")


def test_a_bundle_for_this_machines_gpu_is_compiled_and_checked_on_it(
    made: Made, tmp_path: Path
) -> None:
    command = [
        "compile", str(made.scratch / "net.onnx"), "--cut", "server", "--tail-target", "host-gpu",
        "-o", str(tmp_path / "net.splitc")
    ]  # fmt: skip
    done = _splitc(made, *command)
    assert done.returncode == 0, done.stderr
    assert "A stand-in (sm_90), as its driver describes it" in done.stdout
    done = _splitc(made, "verify", str(tmp_path / "net.splitc"))
    assert done.returncode == 0, done.stderr
    assert "host-gpu" in done.stdout


def _splitc(made: Made, *arguments: str) -> subprocess.CompletedProcess[str]:
    return made.python("from splitc.cli import main; main()", arguments)


def test_the_doctor_says_what_driver_and_gpus_there_are(made: Made) -> None:
    done = _splitc(made, "doctor", "--json")
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert checks["CUDA driver"]["found"] == "CUDA 13.0: A stand-in (sm_90)"
    assert "cuda-sm75" in checks["CUDA compiler"]["found"]
    assert checks["OpenCL driver"]["found"]
