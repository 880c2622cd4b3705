# SPDX-License-Identifier: Apache-2.0
"""Ill-conditioned networks: what rounding alone decides is no fault, and faults are still found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import splitc
from splitc.arrays import Array, Arrays
from splitc.build.compiler import build, plan
from splitc.build.describe import ways_of
from splitc.build.rebuild import rebuild
from splitc.bundle.bundle import Bundle
from splitc.bundle.difference import worst_of
from splitc.bundle.rounding import rounding_of
from splitc.bundle.verify import Verification
from splitc.cli.app import run
from splitc.errors import BadBundleError, VerificationError
from splitc.runtime.manifest import write_manifest
from tests.build.test_self_check import altering
from tests.helpers import save, small_network

WIDE, CLASSES = 64, 12
Change = Callable[[list[Any]], list[Any]]


def network(*weights: tuple[str, np.ndarray[Any, Any]], nodes: list[Any]) -> ModelProto:
    """A network of one vector `x` and one result `y`."""
    value = helper.make_tensor_value_info
    return helper.make_model(
        helper.make_graph(
            nodes, "unsteady", [value("x", TensorProto.FLOAT, [1, WIDE])],
            [value("y", TensorProto.FLOAT, [1, CLASSES])],
            [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip


def small_differences() -> ModelProto:
    """Logits that are differences of numbers ten thousand times as large.

    Float32 has sixteen bits more than those leave, so rounding is about a hundredth of them.
    """
    rng = np.random.default_rng(0)
    left = rng.standard_normal((WIDE, CLASSES))
    node = helper.make_node
    return network(
        ("left", left), ("right", left + 3e-5 * rng.standard_normal(left.shape)),
        nodes=[
            node("Relu", ["x"], ["r"], "relu"), node("MatMul", ["r", "left"], ["a"], "a"),
            node("MatMul", ["r", "right"], ["b"], "b"), node("Sub", ["a", "b"], ["d"], "d"),
            node("Neg", ["d"], ["y"], "y"),
        ],
    )  # fmt: skip


def equal_classes() -> ModelProto:
    """Classes of equal weights, and logits of 1e9: their softmax is what rounding makes it."""
    node = helper.make_node
    return network(
        ("weights", np.full((WIDE, CLASSES), 1e7)),
        nodes=[
            node("Abs", ["x"], ["r"], "abs"), node("MatMul", ["r", "weights"], ["l"], "logits"),
            node("Softmax", ["l"], ["y"], "y", axis=1),
        ],
    )  # fmt: skip


def rounded_otherwise(arrays: list[Any]) -> list[Any]:
    """What summing in another order makes of differences: half a percent of their range."""
    result = np.asarray(arrays[0], np.float32)
    noise = np.random.default_rng(1).standard_normal(result.shape, np.float32)
    noise *= np.float32(2e-3) * np.ptp(result)
    return [np.asarray(result + noise, np.float32), *arrays[1:]]


def one_class_alone(arrays: list[Any]) -> list[Any]:
    """The softmax of logits of which the third is one step of float32 larger."""
    made = np.zeros_like(arrays[0])
    made[..., 2] = 1
    return [made]


def swapped(arrays: list[Any]) -> list[Any]:
    return [arrays[0][..., [1, 0, *range(2, arrays[0].shape[-1])]], *arrays[1:]]


def without_bias(arrays: list[Any]) -> list[Any]:
    return [arrays[0] - np.float32(0.3) * np.abs(arrays[0]).max(), *arrays[1:]]


def one_class_of_zeros(arrays: list[Any]) -> list[Any]:
    return [arrays[0] * (np.arange(CLASSES) != 4).astype(np.float32), *arrays[1:]]


def compiled(proto: ModelProto, target: Path) -> tuple[Bundle, Verification, list[str]]:
    told: list[Verification] = []
    said: list[str] = []
    job = plan(splitc.load(proto), cut="server", emit="onnx")
    bundle = build(job, output=target, checked=told.append, note=said.append)
    (found,) = told
    return bundle, found, said


@pytest.mark.parametrize(("made", "change", "least"), [
    (small_differences, rounded_otherwise, 5e-3), (equal_classes, one_class_alone, 0.9),
])  # fmt: skip
def test_what_rounding_alone_decides_is_no_fault_and_is_said(
    made: Callable[[], ModelProto], change: Change, least: float, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    altering(monkeypatch, change, "tail")
    bundle, found, said = compiled(made(), tmp_path / "o.splitc")
    (result,) = found.outputs
    assert result.relative > found.tolerance
    assert result.rounding >= least
    assert min(bundle.manifest.rounding_of("y")) >= least
    (line,) = [each for each in said if "rounding alone" in each]
    assert "result 'y'" in line
    assert "on golden samples 1 and 2 and 3 of 3" in line
    assert bundle.verify().passed


@pytest.mark.parametrize("fault", [swapped, without_bias, one_class_of_zeros])
def test_a_fault_of_an_ill_conditioned_network_is_still_found(
    fault: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altering(monkeypatch, fault, "tail")
    with pytest.raises(VerificationError, match="do not compute what the whole"):
        compiled(small_differences(), tmp_path / "o.splitc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", [rounded_otherwise, swapped])
def test_a_network_that_rounding_does_not_move_is_judged_as_ever(
    fault: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altering(monkeypatch, fault, "tail")
    with pytest.raises(VerificationError, match="do not compute what the whole"):
        splitc.compile(
            splitc.load(small_network()), cut="server", emit="onnx", output=tmp_path / "o"
        )


def test_nothing_is_measured_where_nothing_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any) -> Any:
        raise AssertionError("rounding was measured")

    monkeypatch.setattr("splitc.build.compiler.rounding_of", never)
    bundle, found, said = compiled(small_network(), tmp_path / "o.splitc")
    assert found.passed
    assert not any("rounding" in line for line in said)
    assert "rounding" not in (bundle.path / "manifest.json").read_text("utf-8")


def measured(proto: ModelProto | Any, cut: str) -> dict[str, tuple[float, ...]]:
    job = plan(splitc.load(proto), cut=cut, emit="onnx")
    rng = np.random.default_rng(3)
    (read,) = job.trunk.graph.inputs
    feeds = [{read.name: rng.standard_normal(read.static_shape, np.float32)} for _ in range(2)]
    return rounding_of(
        job.trunk, ways_of(job, {part.name: part.extract() for part in job.parts}), feeds, 0
    )


def test_rounding_is_known_of_what_crosses_too() -> None:
    found = measured(small_differences(), "d")
    assert sorted(found) == ["d", "y"]
    assert 5e-3 < min(found["d"]) < 0.5


def test_where_rounding_decides_the_largest_no_arg_max_is_held_against_another() -> None:
    """Classes that are equal but for six steps of float32, which are nothing of their size."""
    exact = np.full((1, CLASSES), 2.0**30, np.float32)
    exact[0, 5] -= 6 * 128

    class Network:
        graph = SimpleNamespace(outputs=("y",))
        index_extents = divisors = settled = ()

        def __init__(self, y: Array) -> None:
            self.y = y

        def run(self, feed: Arrays) -> Arrays:
            return {"y": self.y}

        def nudged(self, seed: int) -> Network:
            return Network(exact[:, ::-1])

        def unload(self) -> None: ...

    whole: Any = Network(exact)
    (rounding,) = rounding_of(whole, (), [{}], 0).values()
    got = exact[None].copy()
    got[..., 5] += 12 * 128
    other = exact[None].copy()
    assert not worst_of("y", got, other, 1e-3).within(1e-3)
    assert worst_of("y", got, other, 1e-3, rounding=rounding).within(1e-3)


def test_rounding_of_a_module_is_measured_alike_and_leaves_its_weights() -> None:
    torch = pytest.importorskip("torch")
    model = splitc.to_torch(splitc.load(small_differences()))
    kept = {name: each.clone() for name, each in model.module.state_dict().items()}
    feeds = [{"x": np.random.default_rng(3).standard_normal((1, WIDE), np.float32)}]
    (moved,) = rounding_of(model, (), feeds, 0).values()
    assert 5e-3 < min(moved) < 0.5
    assert len(kept) == 2
    assert all(torch.equal(each, kept[name]) for name, each in model.module.state_dict().items())


def test_a_sample_of_small_range_is_not_hidden_by_one_of_large_range() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((3, 1, 200)).astype(np.float32)
    reference[2] *= 1000
    reference[:, 0, 7] *= np.float32(1e-3)
    got = reference.copy()
    got[:2, 0, 7] *= 1.5
    assert "slice 7 of axis 2" in worst_of("y", got, reference, 1e-3).wrong


def test_a_class_that_is_small_in_the_one_large_sample_is_not_held_against_its_noise() -> None:
    """A thousandth of a range may be small by chance in one sample, not in three."""
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((3, 1, 200)).astype(np.float32)
    reference[2] *= 1000
    reference[2, 0, 7] = 0.3
    got = reference.copy()
    got[2, 0, 7] += 0.2
    assert worst_of("y", got, reference, 1e-3).near(1e-3)


def test_each_sample_has_its_own_rounding() -> None:
    reference = np.array([[[0.0, 1.0, 4.0]], [[0.0, 1.0, 4.0]]], np.float32)
    got = reference.copy()
    got[1, 0, 2] += np.float32(0.1)
    assert worst_of("y", got, reference, 1e-3, rounding=(0, 0.05)).within(1e-3)
    assert not worst_of("y", got, reference, 1e-3, rounding=(0.05, 0)).within(1e-3)
    assert not worst_of("y", got, reference, 1e-3).within(1e-3)


def unsteady(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    altering(monkeypatch, rounded_otherwise, "tail")
    return compiled(small_differences(), folder / "o.splitc")[0]


def test_verify_says_what_rounding_may_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = unsteady(tmp_path, monkeypatch)
    assert run(["verify", str(bundle.path)]) == 0
    assert "result 'y': rounding alone may make " in capsys.readouterr().out


@pytest.mark.parametrize("rounding", [(0.1,), (0.1, -1.0, 0.1), (0.1, 0.1, 1e9)])
def test_a_manifest_with_rounding_that_cannot_be_is_refused(
    rounding: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = unsteady(tmp_path, monkeypatch)
    altered = msgspec.structs.replace(bundle.manifest, rounding={"y": rounding})
    write_manifest(bundle.path, altered)
    with pytest.raises(BadBundleError, match="rounding of"):
        Bundle.open(bundle.path).verify()


def test_a_bundle_that_was_judged_by_its_rounding_is_made_again_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altering(monkeypatch, rounded_otherwise, "tail")
    path = save(small_differences(), tmp_path / "small.onnx")
    target = tmp_path / "o.splitc"
    assert run(["compile", str(path), "--cut", "server", "--emit", "onnx", "-o", str(target)]) == 0
    bundle = Bundle.open(target)
    assert bundle.manifest.rounding_of("y")
    assert rebuild(bundle, path).same
