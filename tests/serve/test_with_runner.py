# SPDX-License-Identifier: Apache-2.0
"""A device without Python, `head/splitc-run --send`, and this server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.net.address import Address
from splitc.runtime.process import find_emulator
from splitc.serve.server import Server

KEY = bytes(range(32))
WITHIN_S = 60


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with the server's key."""
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n", "ascii")
    return path


def send(
    head: Path, to: Address, inputs: dict[str, Any], folder: Path, *flags: str
) -> subprocess.CompletedProcess[str]:
    """Run a head's own program; its results are in `folder`."""
    files: list[str] = []
    for name, array in inputs.items():
        files.append(str(folder / f"{name}.npy"))
        np.save(files[-1], array)
    emulated = flags[:1] == ("emulated",)
    emulator = find_emulator("aarch64") if emulated else None
    command = [emulator.program, "-L", emulator.sysroot] if emulator is not None else []
    command += [str(head / "splitc-run"), "--send", str(to), "--out", str(folder)]
    return subprocess.run(
        [*command, *flags[emulated:], *files], capture_output=True, text=True, check=False,
        timeout=WITHIN_S,
    )  # fmt: skip


def inputs_of(bundle: Bundle) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        spec.name: rng.standard_normal([n or 1 for n in spec.shape]).astype(spec.dtype)
        for spec in bundle.manifest.source.inputs
    }


def check(bundle: Bundle, inputs: dict[str, Any], told: dict[str, Any], folder: Path) -> None:
    """What the device wrote is what the bundle computes."""
    expected = bundle.run(inputs)
    for one in told["outputs"]:
        found = np.load(folder / one["file"])
        wanted = expected[one["name"]]
        np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
    assert told["outputs"]


@pytest.mark.parametrize("transport", ["udp", "resend", "parity", "tcp"])
def test_it_gets_the_tails_results(
    two_headed: Bundle, tmp_path: Path, key: Path, transport: str
) -> None:
    inputs = inputs_of(two_headed)
    with Server([two_headed.path], key=KEY) as server:
        done = send(
            two_headed.path / "head", server.address, inputs, tmp_path,
            "--transport", transport, "--key", str(key), "--repeat", "20",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["frames"], told["answered"]) == (20, 20)
    assert server.measures.answers == 20
    check(two_headed, inputs, told, tmp_path)


def test_the_key_of_another_is_one_line_and_exit_code_8(
    two_headed: Bundle, tmp_path: Path, key: Path
) -> None:
    with Server([two_headed.path], key=bytes(32)) as server:
        done = send(
            two_headed.path / "head", server.address, inputs_of(two_headed), tmp_path,
            "--key", str(key),
        )  # fmt: skip
    assert done.returncode == 8
    (line,) = done.stderr.splitlines()
    assert "the device has another key than the server" in line
    assert server.measures.refused["key"] >= 1


def test_the_server_of_another_bundle_is_one_line_and_exit_code_3(
    two_headed: Bundle, small: Bundle, tmp_path: Path
) -> None:
    with Server([small.path]) as server:
        done = send(two_headed.path / "head", server.address, inputs_of(two_headed), tmp_path)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert two_headed.manifest.split[:16] in line


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_arm_device_gets_them_too(
    compiled: Bundle, tmp_path: Path, key: Path, transport: str
) -> None:
    inputs = inputs_of(compiled)
    with Server([compiled.path], key=KEY) as server:
        done = send(
            compiled.path / "head", server.address, inputs, tmp_path, "emulated",
            "--transport", transport, "--key", str(key), "--deadline", "5s",
            "--silent-after", "20s",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check(compiled, inputs, json.loads(done.stdout), tmp_path)
