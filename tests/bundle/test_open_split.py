# SPDX-License-Identifier: Apache-2.0
"""A bundle whose parts stay loaded: one function of the network's inputs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError, UsageError


def some(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_it_gives_what_run_gives(compiled: Bundle) -> None:
    x = some(1, 3, 12, 12)
    with compiled.open_parts() as split:
        for _ in range(3):
            for name, found in split(x).items():
                np.testing.assert_array_equal(found, compiled.run({"x": x})[name])


def test_samples_come_stacked_as_they_go(two_headed: Bundle) -> None:
    specs = two_headed.manifest.source.inputs
    feed = {spec.name: some(3, *(e or 1 for e in spec.shape)) for spec in specs}
    with two_headed.open_parts() as split:
        stacked = split(feed)
        for k in range(3):
            one = split({name: array[k] for name, array in feed.items()})
            for name, found in stacked.items():
                np.testing.assert_array_equal(found[k], one[name])


def test_several_threads_may_call_it(compiled: Bundle) -> None:
    inputs = [some(1, 3, 12, 12, seed=seed) for seed in range(24)]
    with compiled.open_parts() as split, ThreadPoolExecutor(4) as pool:
        for x, found in zip(inputs, pool.map(split, inputs), strict=True):
            for name, wanted in split(x).items():
                np.testing.assert_array_equal(found[name], wanted)


def test_a_closed_one_is_not_called(compiled: Bundle) -> None:
    with compiled.open_parts() as split:
        pass
    with pytest.raises(UsageError, match="is closed"):
        split(some(1, 3, 12, 12))


def test_an_input_that_does_not_fit_is_named(compiled: Bundle) -> None:
    with compiled.open_parts() as split, pytest.raises(UsageError, match="'x' does not fit"):
        split(some(1, 3, 12, 11))


@pytest.mark.parametrize(
    ("given", "kind", "hint"),
    [
        ([[1.0, 2.0]], "list", "numpy.asarray(values, 'float32')"),
        ("cat.npy", "str", "numpy.load(path)"),
        (Path("cat.npy"), "pathlib", "splitc run BUNDLE --input FILE"),
        (3.0, "float", "by input name"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_what_is_no_array_is_told_what_is_taken(
    compiled: Bundle, given: Any, kind: str, hint: str, named: bool
) -> None:
    with pytest.raises(UsageError, match=rf"input.* is no array but {kind}") as caught:
        compiled.run({"x": given} if named else given)
    assert "'x' float32 (1, 3, 12, 12)" in caught.value.why
    assert hint in caught.value.hint


def test_a_tensor_is_told_to_become_an_array(compiled: Bundle) -> None:
    torch: Any = pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"is no array but torch\.Tensor") as caught:
        compiled.run(torch.zeros(1, 3, 12, 12))
    assert caught.value.hint == "give tensor.detach().cpu().numpy()"


def test_parts_in_onnx_stay_loaded_too(small_onnx: Path, tmp_path: Path) -> None:
    bundle = splitc.compile(small_onnx, cut="pool", emit="onnx", output=tmp_path / "o.splitc")
    x = some(1, 3, 12, 12)
    whole = splitc.load(small_onnx).run({"x": x})
    with bundle.open_parts() as split:
        for name, found in split(x).items():
            np.testing.assert_allclose(found, whole[name], rtol=1e-4, atol=1e-5)


def test_a_part_for_another_isa_runs_emulated_where_asked(compiled: Bundle, qemu: None) -> None:
    x = some(1, 3, 12, 12)
    with compiled.open_parts(emulate=True) as split:
        (found,) = split(x).values()
    (wanted,) = compiled.run(x).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_altered_file_is_noticed_before_anything_is_loaded(bundle: Bundle) -> None:
    weights = bundle.path / "tail" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(BadBundleError, match="'tail/weights.bin' was altered"):
        bundle.open_parts()
