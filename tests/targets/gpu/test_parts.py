# SPDX-License-Identifier: Apache-2.0
"""Bundles whose tail is for a graphics processor: compiled, verified, run, refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.cost.gpu_driver import DEVICE
from splitc.errors import DeviceError
from splitc.runtime.devices import why_no_device
from splitc.runtime.manifest import PartManifest, read_manifest
from splitc.runtime.ort import Session
from splitc.serve.tails import Served
from splitc_targets.backend import TvmBackend
from tests.targets.gpu.device import BOARD, needs_opencl
from tests.targets.nets import Net

BATCHES = [(0, 4), (4, 2), (6, 1), (7, 4), (8, 2), (10, 2)]
"""The first frame of each call, and how many it has."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions, a pooling and a classifier."""
    net = Net(0)
    x = net.op("Relu", net.op("Conv", net.input(1, 3, 16, 16), net.random(8, 3, 3, 3)))
    x = net.op("Relu", net.op("Conv", x, net.random(12, 8, 3, 3) * 0.1))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    net.outputs = [net.op("Softmax", net.op("MatMul", x, net.random(12, 10)), axis=1)]
    path = tmp_path_factory.mktemp("gpu") / "net.onnx"
    path.write_bytes(net.proto().SerializeToString())
    return path


def _compiled(model: Path, folder: Path, tail: str, head: str = "host") -> Bundle:
    cut = splitc.load(model).graph.layers[2].name
    return splitc.compile(model, cut=cut, head=head, tail=tail, output=folder / "net.splitc")


@pytest.fixture(scope="session")
def on_opencl(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return _compiled(model, tmp_path_factory.mktemp("opencl"), BOARD)


@needs_opencl
def test_a_tail_on_opencl_gives_what_onnxruntime_gives(on_opencl: Bundle, model: Path) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    names = [spec.name for spec in on_opencl.manifest.source.outputs]
    (want,) = Session(model.read_bytes()).run(names, {"x1": x})
    with on_opencl.open_parts(on_opencl.manifest.default) as split:
        (got,) = split({"x1": x}).values()
        assert split.ran["tail"] == BOARD
    np.testing.assert_allclose(got, want, atol=1e-6)
    found = on_opencl.verify()
    assert found.ran["tail"].how == BOARD


@needs_opencl
def test_verify_says_that_the_gpus_part_ran(
    on_opencl: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(on_opencl.path)]) == 0
    out = capsys.readouterr().out
    assert f"tail ran as {BOARD}" in out
    assert "was not run" not in out


@needs_opencl
def test_a_served_tail_takes_several_frames_a_call_from_many_threads(
    model: Path, tmp_path: Path
) -> None:
    cut = splitc.load(model).graph.layers[2].name
    bundle = splitc.compile(
        model, cut=cut, head="host", tail=BOARD, batch_sizes=[1, 2, 4], output=tmp_path / "b.splitc"
    )
    assert bundle.manifest.parts["tail-x4"].target == BOARD
    (sent,) = (np.load(bundle.path / "golden/boundary/0.npy")[0],)
    frames = [[sent * k] for k in range(12)]
    with Served(bundle.path) as served, ThreadPoolExecutor(3) as pool:
        (tail,) = served.tails.values()
        assert tail.batches == (1, 2, 4)
        alone = [tail.run([frame])[0] for frame in frames]
        tail.measure(1)
        together = pool.map(tail.run, (frames[k : k + n] for k, n in BATCHES))
        for (k, _), results in zip(BATCHES, together, strict=True):
            for frame, found in enumerate(results, k):
                np.testing.assert_allclose(found[0], alone[frame][0], atol=1e-6)
    assert not np.allclose(alone[1][0], alone[11][0], atol=1e-3)


@needs_opencl
def test_the_runner_runs_it_and_says_what_device_it_lacks(on_opencl: Bundle) -> None:
    tail = on_opencl.path / "tail"
    runner, frame = str(tail / "splitc-run"), str(on_opencl.path / "golden/boundary/0.npy")
    done = subprocess.run([runner, frame], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["part"] == "tail"
    asked = [runner, "--device", "opencl:9", frame]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "no OpenCL 2.0 device with shared virtual memory: number 9" in done.stderr


@needs_opencl
def test_a_part_for_a_device_that_is_not_here_is_not_loaded(
    on_opencl: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEVICE, "opencl:9")
    with (
        pytest.raises(DeviceError, match="cannot start the tail") as raised,
        on_opencl.open_parts(on_opencl.manifest.default),
    ):
        pass
    assert "there is no device number 9" in raised.value.why


@pytest.fixture(scope="session")
def for_cuda(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A head for a Raspberry Pi 4, a tail for an H100."""
    return _compiled(model, tmp_path_factory.mktemp("cuda"), "cuda-sm90", head="rpi4")


SYSTEM = re.compile(r"lib(c|m|dl|pthread)\.so\.\d+|ld-linux[\w-]*\.so\.\d+")
"""Of the C library of any Linux with glibc."""


def test_a_bundle_needs_nothing_but_the_c_library_and_the_gpus_driver(for_cuda: Bundle) -> None:
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("readelf is not installed")
    files = [path for path in for_cuda.path.rglob("*") if path.is_file()]
    programs = [path for path in files if path.read_bytes()[:4] == b"\x7fELF"]
    names = {str(path.relative_to(for_cuda.path)) for path in programs}
    assert {f"{part}/{name}" for part in ("head", "tail", "golden/head", "golden/tail")
            for name in ("model.so", "libsplitc.so", "splitc-run")} == names  # fmt: skip
    for path in programs:
        dynamic = subprocess.run([readelf, "-d", path], capture_output=True, text=True, check=True)
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic.stdout)
        assert [name for name in needed if not SYSTEM.fullmatch(name)] == [], path
        assert "PATH)" not in dynamic.stdout, path
    asking = [path for path in programs if b"libcuda.so" in path.read_bytes()]
    assert asking == [for_cuda.path / "tail/model.so"]


def test_a_bundle_has_its_licences_and_no_path_of_the_machine_that_compiled(
    for_cuda: Bundle,
) -> None:
    here = (tempfile.gettempdir(), sys.prefix, str(Path(splitc.__file__).parents[1]))
    for path in for_cuda.path.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert [each for each in here if f"{each}/".encode() in held] == [], path
    bill = json.loads((for_cuda.path / "sbom.cdx.json").read_text("utf-8"))
    for part in ("head", "tail"):
        (found,) = (one for one in bill["components"] if one["name"] == part)
        shipped = {one["name"] for one in found["components"]}
        assert {"apache-tvm-ffi", "libcxx", "splitc"} <= shipped
        texts = {
            path.stem: path.stat().st_size for path in for_cuda.path.glob(f"{part}/LICENSES/*")
        }
        assert texts.keys() == shipped
        assert min(texts.values()) > 500


@pytest.mark.skipif(not why_no_device("cuda", "sm_90"), reason="this machine has such a GPU")
def test_a_tail_for_cuda_is_compiled_here_and_its_twin_checked(
    for_cuda: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = for_cuda
    part = read_manifest(bundle.path / "tail", PartManifest)
    assert part.device is not None
    assert (part.device.api, part.device.arch) == ("cuda", "sm_90")
    assert part.device.memory_bytes > part.weight_bytes > 0
    assert run(["verify", str(bundle.path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "tail ran as host build of the cuda-sm90 tail" in out
    assert "the tail's own code was not run: it is for a sm_90 GPU, and there is no" in out
    assert "this machine's processor, were checked in its place" in out
    nvidias = bundle.path / "tail/LICENSES/nvidia-cuda-nvrtc.txt"
    assert "libdevice" in nvidias.read_text("utf-8")
    bill = json.loads((bundle.path / "sbom.cdx.json").read_text("utf-8"))
    (tail,) = (one for one in bill["components"] if one["name"] == "tail")
    assert "nvidia-cuda-nvrtc" in {one["name"] for one in tail["components"]}
    with Served(bundle.path) as served:
        assert "there is no" in served.stand_ins["tail"]
    frame = str(bundle.path / "golden/boundary/0.npy")
    runner = str(bundle.path / "tail/splitc-run")
    done = subprocess.run([runner, frame], capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "libcuda.so.1" in done.stderr or "is for sm_90" in done.stderr


def test_two_compiles_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    backend, board = TvmBackend(), load_board("cuda-sm80")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        code = backend.compile(backend.lower(splitc.load(model)), board)
        backend.write(code, board, tmp_path / name, runtime=False)
    for name in ("model.so", "weights.bin"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
