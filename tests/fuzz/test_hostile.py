# SPDX-License-Identifier: Apache-2.0
"""The fuzzer's targets keep their promises on what is right, and on some thousand wrong inputs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="needs the extra 'serve'")
pytest.importorskip("zfec", reason="needs the extra 'parity'")

from splitc.bundle.bundle import Bundle
from splitc.wire.datagrams import Datagrams
from tests.fuzz import conversations, manifests
from tests.fuzz.hostile import TARGETS, receivers, seeds, split
from tests.helpers import ROOT
from tests.wire.make_golden import FOLDER

JUNK = [b"", b"\0", b"\xff" * 40, b"-1", b"99999999999999999999", b'"', b"[[[[", b"null"]


def altered(seed: bytes, rng: np.random.Generator) -> bytes:
    """An input with some of its bytes lost, doubled, flipped, or others put between them."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 40))
        match int(rng.integers(4)):
            case 0:
                del data[at : at + length]
            case 1:
                data[at:at] = data[at : at + length]
            case 2:
                data[at : at + 1] = bytes([int(rng.integers(256))])
            case _:
                data[at:at] = JUNK[int(rng.integers(len(JUNK)))]
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_is_altered_breaks_a_promise(target: str) -> None:
    rng, known = np.random.default_rng(5), seeds(target)
    for number in range(120 if target == "packets" else 600):
        TARGETS[target](altered(known[number % len(known)], rng))


def test_a_fuzzer_of_packets_begins_where_there_is_something_to_reach() -> None:
    for (one, seal), name in zip(
        receivers(), ("several", "levels-of-3-bits", "parity", "sealed"), strict=False
    ):
        came = Datagrams.packets([*split((FOLDER / f"{name}.bin").read_bytes())])
        opened = came if seal is None else seal.open(came)[0]
        one.add(opened.take([0]), 0.0)
        one.add(opened, 0.0)
        assert one.counters.complete == 1, name


@pytest.mark.parametrize("key", [None, conversations.KEY], ids=["open", "sealed"])
def test_a_fuzzer_of_conversations_begins_where_frames_are_answered(key: bytes | None) -> None:
    talk = conversations.Talk(key)
    everyone = [conversations.Said(2, who, b"\0\0\0") for who in range(3)]
    said = b"".join(one.written() for one in (*everyone, conversations.Said(4, 0, b"")))
    assert bytes([key is not None]) + said in [
        one[: 1 + len(said)] for one in seeds("conversations")
    ]
    for one in conversations.commands(said):
        conversations.COMMANDS[one.what](talk, one)
    assert talk.measures.answers == 3


def test_a_fuzzer_of_manifests_begins_with_those_of_a_real_bundle() -> None:
    for path in manifests.folders():
        Bundle.open(path).check()
    known = [manifest for _, _, manifest in manifests.right()]
    assert [json.loads(one[1:]) for one in seeds("manifests")[: len(known)]] == known
    assert manifests.changed({"a": [1, 2]}, b"\1\0\0\0") == {"a": [None, 2]}
    assert manifests.changed({"a": 1, "b": 2}, b"\0\0\1\0") == {"b": 2}


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_fuzzer_begins_with_breaks_no_promise(target: str) -> None:
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_a_fuzzer_finds_nothing_in_a_few_seconds(target: str) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    command = [sys.executable, "-m", "tests.fuzz.python", target, "--seconds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(re.findall(r"Done (\d+) runs", done.stderr)[-1]) > 100
