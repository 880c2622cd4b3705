# SPDX-License-Identifier: Apache-2.0
"""The fuzzer's targets keep their promises on what is right, and on some thousand wrong inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="needs the extra 'serve'")
pytest.importorskip("zfec", reason="needs the extra 'parity'")

from splitc.runtime.manifest import MANIFEST, Manifest, PartManifest, read_manifest
from splitc.wire.datagrams import Datagrams
from tests.fuzz.hostile import TARGETS, packets, receivers, seeds, split
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


def test_a_fuzzer_begins_where_there_is_something_to_reach(tmp_path: Path) -> None:
    part, bundle = seeds("manifests")
    (tmp_path / MANIFEST).write_bytes(part)
    assert read_manifest(tmp_path, PartManifest).remote
    (tmp_path / MANIFEST).write_bytes(bundle)
    assert read_manifest(tmp_path, Manifest).routes
    for (one, seal), name in zip(
        receivers(), ("several", "levels-of-3-bits", "parity", "sealed"), strict=False
    ):
        came = Datagrams.packets([*split((FOLDER / f"{name}.bin").read_bytes())])
        opened = came if seal is None else seal.open(came)[0]
        one.add(opened.take([0]), 0.0)
        one.add(opened, 0.0)
        assert one.counters.complete == 1, name


def test_packets_that_are_right_break_no_promise() -> None:
    for seed in seeds("packets"):
        packets(seed)
