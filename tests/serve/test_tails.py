# SPDX-License-Identifier: Apache-2.0
"""Bundles as a server loads them: what runs behind the link, and what is refused."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError, ToolchainError, UsageError
from splitc.runtime.manifest import PartManifest
from splitc.runtime.memory import Arenas
from splitc.runtime.part import Part, load_checked
from splitc.send.ends import Folders
from splitc.serve.tails import Served, Tail, load_bundles
from splitc.wire.header import split_id


def crossing(served: Served, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    specs = served.tails[0].crosses
    return [rng.standard_normal([n or 1 for n in s.shape]).astype(s.dtype) for s in specs]


def test_a_tail_computes_what_the_bundle_does_behind_the_link(
    small: Bundle, served: Served
) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32)
    with small.open_parts() as split:
        expected = split(x)
    head = small.manifest.route.parts[0]
    from splitc.runtime.part import load_part

    with load_part(small.path / small.manifest.parts[head].folder) as part:
        boundary = part.run([x])
    (results,) = served.tails[0].run([boundary])
    for spec, array in zip(served.tails[0].results, results, strict=True):
        np.testing.assert_array_equal(array, expected[spec.name])


def test_a_bundle_has_the_number_that_packets_name_it_by(small: Bundle, served: Served) -> None:
    assert served.split == split_id(small.manifest.split)
    assert served.name == small.manifest.name


def test_what_a_tail_takes_is_measured(served: Served) -> None:
    served.tails[0].measure()
    assert 0 < served.tails[0].seconds < 5


def test_an_altered_bundle_is_not_served(small: Bundle, tmp_path: Path) -> None:
    shutil.copytree(small.path, tmp_path / "b.splitc")
    model = tmp_path / "b.splitc" / "tail" / small.part("tail").model
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(BadBundleError, match="was altered"):
        Served(tmp_path / "b.splitc")


def test_a_bundle_whose_tail_is_for_another_machine_is_not_served(
    compiled: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(compiled.path, tmp_path / "b.splitc")
    manifest = tmp_path / "b.splitc" / "tail" / "manifest.json"
    text = manifest.read_text("utf-8")
    manifest.write_text(re.sub(r'"isa": "[^"]+"', '"isa": "riscv64"', text), "utf-8")
    with pytest.raises(ToolchainError, match="cannot start the tail on this machine"):
        Served(tmp_path / "b.splitc")


def test_what_is_no_bundle_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no bundle"):
        Served(tmp_path / "absent.splitc")


def test_two_bundles_of_one_split_cannot_be_told_apart(small: Bundle, tmp_path: Path) -> None:
    shutil.copytree(small.path, tmp_path / "again.splitc")
    with ExitStack() as stack, pytest.raises(UsageError, match="are one bundle"):
        load_bundles([small.path, tmp_path / "again.splitc"], stack)


def test_there_has_to_be_a_bundle() -> None:
    with ExitStack() as stack, pytest.raises(UsageError, match="no bundle to serve"):
        load_bundles([], stack)


def test_every_route_computes_what_the_bundle_does(routed: Bundle) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32)
    with Served(routed.path) as served, routed.open_parts() as split:
        assert served.routes == ("stem_relu", "stem_relu:8bit", "block_add", "block_add:8bit")
        folders = Folders.find(routed.path)
        ends = folders.load(folders.manifest.remote, wants_whole=False)
        for remote in folders.manifest.remote:
            known = ends.run_head(remote, {"x": x})
            (results,) = served.tails[remote.route].run([[known[s.name] for s in remote.crosses]])
            assert [spec.name for spec in remote.results] == ["y"]
            np.testing.assert_array_equal(results[0], split(x, route=remote.name)["y"])
        ends.close()


def test_a_part_of_several_routes_is_loaded_once_and_all_share_what_they_work_in(
    routed: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, Arenas | None]] = []

    def load(folder: Path, part: PartManifest, arenas: Arenas | None = None) -> Part:
        loaded.append((part.part, arenas))
        return load_checked(folder, part, arenas)

    monkeypatch.setattr("splitc.bundle.runnable.load_checked", load)
    with Served(routed.path):
        names = {name for route in routed.manifest.routes for name in route.behind}
        assert sorted(name for name, _ in loaded) == sorted(names)
        arenas = {id(one) for _, one in loaded}
        assert len(arenas) == 1
        assert loaded[0][1] is not None


def test_a_bundle_that_is_let_go_does_not_run(small: Bundle) -> None:
    served = Served(small.path)
    tail = served.tails[0]
    served.close()
    served.close()
    with pytest.raises(UsageError, match="is closed"):
        tail.run([crossing(served, 0)])


def test_frames_that_run_together_come_out_as_alone(served: Served, in_pairs: Tail) -> None:
    frames = [crossing(served, seed) for seed in range(2)]
    together = in_pairs.run(frames)
    for frame, results in zip(frames, together, strict=True):
        (alone,) = in_pairs.run([frame])
        for one, other in zip(results, alone, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_part_for_several_frames_has_to_fit_the_one_for_one(
    served: Served, in_pairs: Tail
) -> None:
    one = served.tails[0]
    steps = {1: in_pairs.steps[1], 4: in_pairs.steps[2]}
    with pytest.raises(BadBundleError, match="is not for 4 frames"):
        Tail("small", 0, one.crosses, one.missing, one.results, (), steps, one.runner)
