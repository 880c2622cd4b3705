# SPDX-License-Identifier: Apache-2.0
"""Times fitted by kind of layer: what was planted comes out, and what it is off is said."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.cost.cost_file import read_cost
from splitc.cost.profile import (
    SCHEMA,
    KernelTime,
    Profile,
    ProfileCost,
    Work,
    work_of,
    write_profile,
)
from splitc.cost.regression import FitCost, Terms, fit, read_fit, write_fit
from splitc.errors import UsageError
from splitc.ir.text import parse_graph

PLANTED = {
    "conv": Terms(constant_ms=0.02, ms_per_gflop=90.0, ms_per_tensor_mb=0.4, ms_per_weight_mb=0.3),
    "gemm": Terms(constant_ms=0.01, ms_per_gflop=0.0, ms_per_tensor_mb=0.0, ms_per_weight_mb=0.25),
    "pool": Terms(constant_ms=0.005, ms_per_gflop=0.0, ms_per_tensor_mb=0.5, ms_per_weight_mb=0.0),
}


def planted(network: str, seed: int, noise: float = 0.0, machine: str = "a lab bench") -> Profile:
    """A profile whose times follow what was planted, times a factor of noise each."""
    rng = np.random.default_rng(seed)
    work = {
        f"{kind}{k}": Work(
            kind=kind, flops=int(rng.integers(10**6, 10**9)),
            read_bytes=int(rng.integers(4_000_000)),
            write_bytes=int(rng.integers(4_000_000)), weight_bytes=int(rng.integers(8_000_000)),
        )
        for kind in PLANTED for k in range(12)
    }  # fmt: skip
    off = {name: float(np.exp(noise * rng.standard_normal())) for name in work}
    layers = {name: PLANTED[one.kind].ms(one) * off[name] for name, one in work.items()}
    return Profile(
        schema=SCHEMA, kind="splitc-profile", machine=machine, network=network, layers=layers,
        work=work,
    )  # fmt: skip


def test_the_coefficients_that_were_planted_are_recovered() -> None:
    made = fit([planted("a", 1), planted("b", 2)])
    for kind, terms in PLANTED.items():
        found = made.kinds[kind]
        assert found.layers == 24
        for name in ("constant_ms", "ms_per_gflop", "ms_per_tensor_mb", "ms_per_weight_mb"):
            assert getattr(found, name) == pytest.approx(getattr(terms, name), abs=1e-9), name
    assert made.validation is not None
    assert made.validation.layers < 1e-9
    assert made.validation.total < 1e-9
    assert sum(made.shares.values()) == pytest.approx(1)


def test_no_other_terms_without_a_negative_one_have_less_error() -> None:
    # A minimum of a convex function over the terms >= 0: no step to either side lessens it.
    profiles = [planted("a", 3, noise=0.5), planted("b", 4, noise=0.5)]
    made = fit(profiles)
    mean = float(np.mean([ms for profile in profiles for ms in profile.layers.values()]))

    def error(kind: str, terms: Terms) -> float:
        return sum(
            ((terms.ms(profile.work[name]) - ms) / (ms + 0.2 * mean)) ** 2
            for profile in profiles
            for name, ms in profile.layers.items()
            if profile.work[name].kind == kind
        )

    fields = ("constant_ms", "ms_per_gflop", "ms_per_tensor_mb", "ms_per_weight_mb")
    for kind, terms in made.kinds.items():
        values = {name: getattr(terms, name) for name in fields}
        for name in fields:
            for step in (-1e-3, 1e-3):
                moved = max(0.0, values[name] + step * (values[name] or 1))
                other = msgspec.structs.replace(terms, **{name: moved})
                assert error(kind, other) >= error(kind, terms) - 1e-12


def test_cross_validation_leaves_a_whole_network_out() -> None:
    # c runs at half the speed, by a quirk of its own: no fit to the others can know.
    slow = planted("c", 7)
    slow = Profile(
        schema=SCHEMA, kind="splitc-profile", machine=slow.machine, network="c", work=slow.work,
        layers={name: 2 * ms for name, ms in slow.layers.items()},
    )  # fmt: skip
    found = fit([planted("a", 5), planted("b", 6), slow]).validation
    assert found is not None
    assert found.networks["c"] == pytest.approx(0.5)
    assert set(found.kinds) == set(PLANTED)
    # Two profiles of one network are left out together.
    twice = fit([planted("a", 5), planted("a", 5), slow]).validation
    assert twice is not None
    assert twice.networks == pytest.approx({"a": 1.0, "c": 0.5})
    assert fit([planted("a", 5)]).validation is None


def test_a_fit_in_a_file_prices_a_network_that_was_never_measured(tmp_path: Path) -> None:
    graph = parse_graph(
        "%x = input() : 1x3x64x64\n"
        "%a = conv(%x) {params=7000, flops=4000000} : 1x8x32x32\n"
        "%v = reshape(%a) : 1x8192\n"
        "%s = softmax(%v) : 1x8192\n"
    )
    made = fit([planted("a", 1), planted("b", 2)])
    write_fit(tmp_path / "fit.json", made)
    assert read_fit(tmp_path / "fit.json") == made
    cost = read_cost(tmp_path / "fit.json", load_board("rpi4"))
    assert isinstance(cost, FitCost)
    assert cost.label == (
        "predicted from times of 2 networks on a lab bench (off by 0% on one left out)"
    )
    seconds = cost.seconds(graph)
    moved = 4 * (3 * 64 * 64 + 8 * 32 * 32)
    conv_ms = 0.02 + 90.0 * 4e6 / 1e9 + 0.4 * moved / 1e6 + 0.3 * 7000 / 1e6
    assert seconds[1] == pytest.approx(conv_ms / 1e3)
    # Views are free; of a kind that no profile had, what any layer of its work takes.
    assert seconds[0] == seconds[2] == 0
    assert seconds[3] == pytest.approx(made.any.ms(work_of(graph)["s"]) / 1e3)


def test_work_that_no_layer_has_to_speak_of_is_no_term() -> None:
    # A bias of 4 kB, twice as long where it is 8 kB: 1 MB of weights would take a quarter second.
    work = {
        name: Work(kind="elementwise", write_bytes=40_000, weight_bytes=weights)
        for name, weights in (("a", 4000), ("b", 8000))
    }
    made = fit([
        Profile(
            schema=SCHEMA, kind="splitc-profile", machine="m", network="n",
            layers={"a": 1.0, "b": 2.0}, work=work,
        )
    ])  # fmt: skip
    large = Work(kind="elementwise", write_bytes=40_000, weight_bytes=1_000_000)
    assert 1.0 <= made.ms(large) <= 2.0


def test_profiles_that_cannot_be_fitted_are_refused(tmp_path: Path) -> None:
    bare = Profile(schema=SCHEMA, kind="splitc-profile", machine="m", layers={"a": 1.0})
    with pytest.raises(UsageError, match="does not say what its layers do"):
        fit([bare])
    with pytest.raises(UsageError, match="several machines"):
        fit([planted("a", 1), planted("b", 2, machine="another")])
    assert fit([planted("a", 1), planted("b", 2, machine="another")], "mine").machine == "mine"
    with pytest.raises(UsageError, match="no profile to fit"):
        fit([])
    path = tmp_path / "fit.json"
    path.write_text('{"kind": "splitc-fit", "schema": 1}')
    with pytest.raises(UsageError, match=r"is no fit\n.*missing required field"):
        read_cost(path, load_board("rpi4"))
    write_profile(path, bare)
    assert isinstance(read_cost(path, load_board("rpi4")), ProfileCost)


def test_the_time_of_a_kernel_is_its_layers_by_their_work() -> None:
    graph = parse_graph(
        "%x = input() : 1x4x8x8\n"
        "%a = conv(%x) {params=144, flops=3000} : 1x4x8x8\n"
        "%b = relu(%a) {flops=1000} : 1x4x8x8\n"
        "%c = concat(%b, %x) : 1x8x8x8\n"
        "%d = transpose(%c) : 1x8x8x8\n"
        "%e = relu(%d) {flops=512} : 1x8x8x8\n"
    )
    kernels = [
        KernelTime(name="conv_0", layers=("a", "b"), ms=2.0),
        KernelTime(name="move_1", layers=("c", "d"), ms=1.0),
        KernelTime(name="move_1", layers=("d",), ms=0.25),
    ]
    made = Profile.of_kernels(graph, kernels, machine="m", network="n", note="by hand")
    assert made.layers == {"a": 1.5, "b": 0.5, "c": 0.5, "d": 0.75, "e": 0.0}
    assert made.work["a"] == Work(
        kind="conv", flops=3000, read_bytes=1024, write_bytes=1024, weight_bytes=144
    )
    assert made.kernels == tuple(kernels)


def test_the_verb_writes_a_fit_that_other_verbs_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, seed in (("one", 1), ("two", 2)):
        write_profile(f"{name}.json", planted(name, seed))
    assert run(["fit", "one.json", "two.json", "-o", "board.json"]) == 0
    out = capsys.readouterr().out
    assert "times of 2 networks on a lab bench" in out
    assert "networks off by 0%" in out
    assert max(map(len, out.splitlines())) <= 80
    Path("net.txt").write_text(
        "%x = input() : 1x3x64x64\n"
        "%a = conv(%x) {params=7000, flops=4000000} : 1x8x32x32\n"
        "%b = conv(%a) {params=7000, flops=4000000} : 1x8x32x32\n"
    )
    assert run(["cuts", "net.txt", "--profile", "board.json"]) == 0
    assert "predicted from times of 2 networks on a lab bench" in capsys.readouterr().out
    # Times alone, with their network: its layers say what they do.
    Path("bare.json").write_text(
        '{"schema": 1, "kind": "splitc-profile", "machine": "m", "layers": {"a": 1, "b": 2}}'
    )
    assert run(["fit", "bare.json"]) == 2
    assert "as MODEL=PROFILE" in capsys.readouterr().err
    assert run(["fit", "net.txt=bare.json", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["file"] == "fit.json"
    assert printed["fit"]["networks"] == ["net"]
    assert printed["fit"]["validation"] is None
    assert run(["fit", "net.txt=one.json"]) == 2
    assert "is of another network" in capsys.readouterr().err
    assert run(["fit", "one.json", "-o", "no/such/place.json"]) == 2
    assert "cannot write" in capsys.readouterr().err
