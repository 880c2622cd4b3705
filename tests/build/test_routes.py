# SPDX-License-Identifier: Apache-2.0
"""Bundles with several routes: nested cuts and codecs, what they share, that all are right."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.arrays import Array
from splitc.build.backend import Tuning
from splitc.build.compiler import build, plan
from splitc.build.tune import tuned_parts
from splitc.bundle.bundle import Bundle, require
from splitc.bundle.verify import Verification
from splitc.cli.app import run
from splitc.errors import IllegalCutError, UsageError
from splitc.runtime.manifest import Manifest, PartManifest, read_manifest
from splitc.runtime.ort import Session
from splitc.search.plan_file import (
    Condition,
    PlanFile,
    PlanLink,
    PlanModel,
    PlanRoute,
    write_plan,
)
from splitc.serve.tails import Served
from tests.helpers import compile_routed, model_of, save, two_headed_network

ROUTES = ("stem_relu", "stem_relu:8bit", "block_add", "block_add:8bit")


def some(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((1, 3, 12, 12)).astype(np.float32)


def test_segments_stand_once_a_site_and_routes_share_them(routed: Bundle) -> None:
    manifest = routed.manifest
    assert tuple(route.name for route in manifest.routes) == ROUTES
    assert [route.runs for route in manifest.routes] == [
        {"device": ("head-s0",), "server": ("tail-s1", "tail-s2")},
        {"device": ("head-s0", "head-enc1"), "server": ("tail-dec1", "tail-s1", "tail-s2")},
        {"device": ("head-s0", "head-s1"), "server": ("tail-s2",)},
        {"device": ("head-s0", "head-s1", "head-enc3"), "server": ("tail-dec3", "tail-s2")},
    ]
    assert {entry.site for name, entry in manifest.parts.items() if name.startswith("head")} == {
        "device"
    }


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_computes_what_the_whole_network_does(
    route: str, routed: Bundle, small_onnx: Path
) -> None:
    x = some(5)
    (whole,) = Session(small_onnx).run(["y"], {"x": x})
    found = routed.run(x, route=route)["y"]
    # Of 255 steps over what crosses the results of this network are less than a hundredth off.
    near = 1e-2 if route.endswith("8bit") else 1e-5
    np.testing.assert_allclose(found, whole, atol=near)
    assert (np.abs(found - whole).max() > 1e-5) == route.endswith("8bit")


def test_a_split_that_is_open_takes_any_route_a_call(routed: Bundle) -> None:
    x = some(6)
    with routed.open_parts() as split:
        assert {*split.routes} == {*ROUTES}
        for name in (*ROUTES, *reversed(ROUTES)):
            np.testing.assert_array_equal(split(x, route=name)["y"], routed.run(x, route=name)["y"])
        default = routed.run(x)["y"]
        np.testing.assert_array_equal(split(x)["y"], default)
        with pytest.raises(UsageError, match="no route 'block_ad'") as caught:
            split(x, route="block_ad")
    assert "block_add" in caught.value.hint
    with routed.open_parts("stem_relu") as split:
        assert split.routes == ("stem_relu",)
        assert split.ran.keys() == {"head-s0", "tail-s1", "tail-s2"}


def test_the_first_part_on_the_device_knows_every_route(routed: Bundle) -> None:
    manifest = routed.manifest
    remotes = routed.part("head-s0").remote
    assert [(one.route, one.name) for one in remotes] == [*enumerate(ROUTES)]
    for one, route in zip(remotes, manifest.routes, strict=True):
        assert (one.runs or ("head-s0",)) == route.runs["device"]
        assert (one.crosses, one.missing) == (route.crosses, route.missing)
        assert [spec.name for spec in one.results] == ["y"]
        took = one.expected
        assert took is not None
        assert took.head_ms == route.predicted.site_ms["device"]
        assert took.link_ms == route.predicted.link_ms
        assert took.agreement == 1.0
    others = [name for name in manifest.parts if name != "head-s0"]
    assert not any(routed.part(name).remote for name in others)
    plain = [one.expected for one in remotes if one.expected and ":" not in one.name]
    assert all(a.head_ms < b.head_ms and a.tail_ms > b.tail_ms for a, b in pairwise(plain))


def test_the_default_is_the_route_that_is_best_for_the_link(
    small_onnx: Path, tmp_path: Path
) -> None:
    def default(link: str, name: str) -> str:
        made = splitc.compile(
            small_onnx, cuts=["stem_relu", "pool"], emit="onnx", link=splitc.Link(link),
            output=tmp_path / name,
        )  # fmt: skip
        return made.manifest.default

    assert default("1Mbit", "slow.splitc") == "pool"
    assert default("10Gbit", "quick.splitc") == "stem_relu"


def test_a_codec_is_no_default_where_there_is_a_route_without(routed: Bundle) -> None:
    coded = {route.name for route in routed.manifest.routes if route.codec is not None}
    assert coded
    assert routed.manifest.default not in coded


def test_a_decoder_makes_what_the_layers_behind_it_read_in_their_order(routed: Bundle) -> None:
    (restored,) = routed.part("tail-dec1").outputs
    (read,) = routed.part("tail-s1").inputs
    (made,) = routed.part("head-s0").outputs
    assert restored == read == made
    assert (made.name, made.shape, made.layout) == ("r1", (1, 12, 12, 8), "channels-last")
    (crosses,) = routed.manifest.routes[1].crosses
    assert (crosses.name, crosses.dtype, crosses.bytes) == ("r1.levels", "uint8", 1152)


def test_verify_covers_every_route(routed: Bundle) -> None:
    found = routed.verify()
    require(found)
    assert tuple(found.routes) == ROUTES
    assert found.failed == ()
    assert {name for each in routed.manifest.routes for name in each.parts} == found.ran.keys()


def test_what_is_the_same_in_parts_is_one_file_on_disk(routed: Bundle) -> None:
    inodes: dict[str, set[int]] = {}
    for name, entry in routed.manifest.files.items():
        inodes.setdefault(entry.sha256, set()).add((routed.path / name).stat().st_ino)
    assert all(len(each) == 1 for each in inodes.values())
    shared = (routed.path / part / "weights.bin" for part in ("head-s1", "tail-s1"))
    assert len({path.stat().st_ino for path in shared}) == 1


def test_what_both_sides_run_is_the_same_memory_in_one_process(routed: Bundle) -> None:
    files = [routed.path / name / "weights.bin" for name in ("head-s1", "tail-s1")]
    (inode,) = {path.stat().st_ino for path in files}
    with routed.open_parts():
        maps = Path("/proc/self/maps").read_text("utf-8").splitlines()
        fields = [line.split(maxsplit=5) for line in maps if str(routed.path) in line]
        mapped = [int(each[4]) for each in fields if each[5].endswith("weights.bin")]
    # One file that is mapped by both: its pages are in memory once.
    assert mapped.count(inode) == 2


def test_a_network_with_results_of_both_sides_and_two_tensors_across(tmp_path: Path) -> None:
    path = save(two_headed_network(), tmp_path / "two.onnx")
    bundle = splitc.compile(
        path, cuts=["early", "tanh"], head="host", emit="onnx", output=tmp_path / "two.splitc"
    )
    rng = np.random.default_rng(3)
    feed = {name: rng.standard_normal((2, 4)).astype(np.float32) for name in ("a", "b")}
    early, late = Session(path).run(["early", "late"], feed)
    with bundle.open_parts() as split:
        for name in split.routes:
            found = split(feed, route=name)
            np.testing.assert_allclose(found["early"], early, rtol=1e-6)
            np.testing.assert_allclose(found["late"], late, rtol=1e-6)
    remotes = bundle.part("head-s0").remote
    assert [[spec.name for spec in one.results] for one in remotes] == [["late"], ["late"]]


@pytest.mark.parametrize("emit", ["onnx", "tvm,onnx", "onnx,tvm"])
def test_any_backend_writes_the_parts_of_a_side(
    emit: str, small_onnx: Path, tmp_path: Path
) -> None:
    bundle = compile_routed(small_onnx, tmp_path / "o.splitc", emit=emit)
    require(bundle.verify())


def test_cuts_are_taken_in_any_order_and_need_not_be_nested_by_name(
    small_onnx: Path, tmp_path: Path
) -> None:
    bundle = splitc.compile(
        small_onnx, cuts=["pool", "block_relu+stem_relu"], emit="onnx", output=tmp_path / "o"
    )
    assert [route.name for route in bundle.manifest.routes] == ["block_relu", "pool"]


def test_cuts_that_are_not_nested_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "left"),
        helper.make_node("Tanh", ["x"], ["t"], "right"),
        helper.make_node("Add", ["r", "t"], ["s"], "join"),
        helper.make_node("Neg", ["s"], ["y"], "end"),
    ]
    path = save(model_of(nodes, {"x": [2, 4]}, ["y"]), tmp_path / "two.onnx")
    with pytest.raises(IllegalCutError, match="'left' cannot follow the one after 'right'") as e:
        splitc.compile(path, cuts=["right", "left"], emit="onnx", output=tmp_path / "o")
    assert "layer 'right' is in the first head only" in e.value.why
    assert not (tmp_path / "o").exists()


def test_an_unknown_layer_has_its_nearest_named(small_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no layer 'block_ad'") as caught:
        splitc.compile(small_onnx, cuts=["pool", "block_ad"], output=tmp_path / "o")
    assert "block_add" in caught.value.hint


def test_a_cut_that_is_there_twice_is_refused(small_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two routes 'pool'"):
        splitc.compile(small_onnx, cuts=["pool", "pool"], emit="onnx", output=tmp_path / "o")


def test_a_codec_takes_one_tensor(tmp_path: Path) -> None:
    path = save(two_headed_network(), tmp_path / "two.onnx")
    inputs = splitc.load(path).graph.inputs
    samples = [{one.name: np.ones(one.static_shape, one.dtype) for one in inputs}]
    with pytest.raises(IllegalCutError, match="cannot cut after 'early'") as caught:
        splitc.compile(
            path, cuts=["early", "tanh"], bits=[8], batches=samples, emit="onnx",
            output=tmp_path / "o",
        )  # fmt: skip
    assert "2 tensors cross" in caught.value.why


def plan_of(small: Path, sha256: str = "") -> PlanFile:
    """Two routes of the small network, one with a codec."""
    model = PlanModel(name="small", sha256=sha256 or splitc.load(small).digest)
    routes = (
        PlanRoute("early", ("stem_relu",), 1152, "quantize-boundary(low=0.0, high=4.0)"),
        PlanRoute("late", ("pool",), 1152),
    )
    one = Condition(0.0, 0.0, 1e7, "late", {"early": 0.2, "late": 0.1})
    return PlanFile(1, model, "rpi4", "host", PlanLink(), "predicted", routes, (one,))


def test_a_bundle_has_the_routes_of_a_plan(small_onnx: Path, tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", plan_of(small_onnx))
    bundle = splitc.compile(
        small_onnx, plan=tmp_path / "plan.json", emit="onnx", output=tmp_path / "o.splitc"
    )
    routes = bundle.manifest.routes
    assert [(one.name, one.runs["device"]) for one in routes] == [
        ("early", ("head-s0", "head-enc0")), ("late", ("head-s0", "head-s1")),
    ]  # fmt: skip
    codec = routes[0].codec
    assert codec is not None
    assert codec.pipeline.startswith("quantize-boundary(")


def test_a_plan_of_another_model_is_refused(
    small_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path / "plan.json", plan_of(small_onnx, "0" * 64))
    line = ["compile", str(small_onnx), "--plan", str(tmp_path / "plan.json"), "--emit", "onnx"]
    assert run([*line, "-o", str(tmp_path / "o")]) == 2
    assert "the plan is of another model" in capsys.readouterr().err
    assert run([*line, "--cuts", "pool,stem"]) == 2
    assert "a plan, and cuts beside it" in capsys.readouterr().err


def test_one_cut_and_several_are_refused(
    small_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compile", str(small_onnx), "--cut", "pool", "--cuts", "pool,stem"]) == 2
    assert "--cut and --cuts" in capsys.readouterr().err
    assert run(["compile", str(small_onnx), "--cuts", "pool,stem", "--bits", "17"]) == 2
    assert "1 to 16" in capsys.readouterr().err


def test_bits_without_a_range_ask_for_samples(
    small_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compile", str(small_onnx), "--cuts", "pool,stem", "--bits", "8"]) == 2
    told = capsys.readouterr().err
    assert "--calibrate FILE.npz" in told
    assert "low" not in told, "no option of --bits"


RECORDS = ("build.json", "report.html")


def test_one_cut_alone_is_the_bundle_that_it_always_was(small_onnx: Path, tmp_path: Path) -> None:
    one = splitc.compile(small_onnx, cut="pool", emit="onnx", output=tmp_path / "a" / "b.splitc")
    other = splitc.compile(
        small_onnx, cuts=["pool"], emit="onnx", output=tmp_path / "b" / "b.splitc"
    )

    def but_for_the_record(bundle: Bundle) -> Manifest:
        """What was asked stands in build.json, and on the page: cut, or cuts."""
        files = {k: v for k, v in bundle.manifest.files.items() if k not in RECORDS}
        return msgspec.structs.replace(bundle.manifest, files=files)

    assert but_for_the_record(one) == but_for_the_record(other)
    assert one.manifest.route.name == "cut"
    assert one.part("head").remote[0].expected is None


def test_servers_parts_for_several_frames_and_the_whole_network_go_with_it(
    small_onnx: Path, tmp_path: Path
) -> None:
    bundle = compile_routed(
        small_onnx, tmp_path / "o.splitc", batch_sizes=(2, 4), with_whole=True
    )  # fmt: skip
    tails = ("tail-s1", "tail-s2", "tail-dec1", "tail-dec3")
    for name in tails:
        assert bundle.manifest.batched(name) == {1: name, 2: f"{name}-x2", 4: f"{name}-x4"}
    found = bundle.verify()
    require(found)
    assert found.others.keys() == {"whole", *(f"{n}-x{k}" for n in tails for k in (2, 4))}
    # A decoder of several frames makes what it stands for too, by its name.
    assert [spec.name for spec in bundle.part("tail-dec1-x2").outputs] == ["r1"]


def test_parts_without_a_runtime_are_checked_on_every_route(
    small_onnx: Path, tmp_path: Path
) -> None:
    checks: list[Verification] = []
    job = plan(
        small_onnx, cuts=["stem_relu", "pool"], head="host",
        batches=[{"x": some(seed)} for seed in range(2)], bits=[8],
    )  # fmt: skip
    bundle = build(job, output=tmp_path / "o.splitc", runtime="none", checked=checks.append)
    assert len(checks[0].routes) == 4
    assert checks[0].passed
    assert not (bundle.path / "head-s0" / "libsplitc.so").exists()


def test_tuning_takes_a_side_or_parts_by_name(small_onnx: Path, tmp_path: Path) -> None:
    job = plan(small_onnx, cuts=["stem_relu", "pool"], head="host")
    assert tuned_parts(job, Tuning()) == ("head-s0", "head-s1", "tail-s1", "tail-s2")
    assert tuned_parts(job, Tuning(parts=("tail-s2",))) == ("tail-s2",)
    bundle = build(job, output=tmp_path / "o.splitc", tuning=Tuning(0.0, parts=("head-s1",)))
    require(bundle.verify())
    with pytest.raises(UsageError, match="no parts 'head-s9'") as caught:
        build(job, output=tmp_path / "p.splitc", tuning=Tuning(0.0, parts=("head-s9",)))
    assert "head-s1" in caught.value.hint


def test_a_part_for_another_board_has_its_build_for_this_machine(
    small_onnx: Path, tmp_path: Path
) -> None:
    bundle = splitc.compile(
        small_onnx, cuts=["stem_relu", "pool"], head="rpi4", output=tmp_path / "o.splitc"
    )
    found = bundle.verify()
    require(found)
    assert found.ran["head-s1"].how == "host build of the rpi4 head-s1"
    twin = read_manifest(bundle.path / "golden" / "head-s0", PartManifest)
    assert [one.runs for one in twin.remote] == [(), ("head-s0", "head-s1")]


def test_the_report_has_the_routes(routed: Bundle) -> None:
    page = (routed.path / "report.html").read_text("utf-8")
    assert "4 routes" in page
    assert all(f'<th scope="row">{name}</th>' in page for name in ROUTES)


def test_what_a_decoder_makes_again_is_no_result(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["early"], "early"),
        helper.make_node("Neg", ["early"], ["n"], "neg"),
        helper.make_node("Sigmoid", ["n"], ["late"], "late"),
    ]
    path = save(model_of(nodes, {"x": [2, 4]}, ["early", "late"]), tmp_path / "two.onnx")
    bundle = splitc.compile(
        path, cuts=["early", "neg"], bits=[2], emit="onnx", output=tmp_path / "o.splitc",
        batches=[{"x": np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)}],
    )  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    early, _ = Session(path).run(["early", "late"], {"x": x})
    np.testing.assert_array_equal(bundle.run(x, route="early:2bit")["early"], early)
    require(bundle.verify())
    remotes = bundle.part("head-s0").remote
    assert [[spec.name for spec in one.results] for one in remotes] == [["late"]] * 4
    with Served(bundle.path) as served:
        assert [[spec.name for spec in tail.results] for tail in served.tails.values()] == [
            ["late"]
        ] * 4


def test_a_cut_whose_tensor_cannot_cross_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("NonZero", ["r"], ["places"], "places"),
        helper.make_node("Cast", ["places"], ["y"], "cast", to=1),
    ]
    path = save(model_of(nodes, {"x": [2, 4]}, ["y"]), tmp_path / "places.onnx")
    with pytest.raises(IllegalCutError, match="cannot cut after 'places'") as caught:
        splitc.compile(path, cuts=["relu", "places"], emit="onnx", output=tmp_path / "o")
    assert "depends on data" in caught.value.why
