# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products of tiles (AMX): by a twin of the instructions, and the instructions by their names."""

from __future__ import annotations

import ctypes
import errno
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import splitc
from splitc.cost import tile_registers
from splitc.cost.board import Board, host_isa, load_board, why_not_here
from splitc.cost.precision import at_precision
from splitc.cost.prices import BoardCost
from splitc.cost.stress import IDLE
from splitc.errors import ToolchainError, UsageError
from splitc.ir.text import parse_graph
from splitc.runtime.part import load_part
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend, unused_tiles
from splitc_targets.kernels.product import byte_tiles, tile_plan
from splitc_targets.kernels.product.geometry import of_maps
from splitc_targets.link.toolchain import zig
from splitc_targets.loops import tiles
from splitc_targets.machine.core import TileProduct
from splitc_targets.machine.machine import machine_of
from splitc_targets.pipeline import Code
from splitc_targets.tvm import adapter
from tests.helpers import save
from tests.targets.kernels.test_dot import Quantised, needs_dot
from tests.targets.kernels.test_pairs import in_float64, needs_bf16, rounded, rules
from tests.targets.nets import Array, Net, computed, wanted

FEATURES = ("+avx512bf16", "+amx-bf16")
BYTES = ("+avx512vnni", "+amx-int8")
LACKING = why_not_here("x86_64", "x86-64-v4", FEATURES)
SOURCE = Path(__file__).with_name("tiles.c")


def asked(cores: int = 2) -> Board:
    """A board that multiplies tiles of bfloat16, as `--precision bf16` makes it."""
    board = load_board("x86-64-v4")
    unit = msgspec.structs.replace(board.processor, on_request=FEATURES)
    board = msgspec.structs.replace(board, unit=unit, cores=cores)
    return at_precision({"server": board}, "bf16")["server"]


class Twin:
    """The twin of the instructions, loaded: kernels that are compiled meanwhile call it."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self.library.twin_fault.restype = ctypes.c_char_p
        self.library.twin_products.restype = ctypes.c_long

    def products(self) -> int:
        """Products of tiles since the last call, none of them wrong, every stretch ended."""
        fault = self.library.twin_fault()
        assert fault is None, fault.decode()
        assert self.library.twin_open() == 0
        return self.library.twin_products()


def by_twin(row: TileProduct, rows: int) -> str:
    """The functions that kernels call, each calling the twin in the place of an instruction."""
    lines = _REAL(row, rows).replace("@llvm.x86.", "@twin_").splitlines()
    # C has no arguments of a byte.
    called = re.compile("declare|  call")
    return "\n".join(re.sub(r"\bi8\b", "i32", li) if called.match(li) else li for li in lines)


_REAL = tiles.functions


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The twin, compiled."""
    made = tmp_path_factory.mktemp("twin") / "libtwin.so"
    zig("cc", "-O2", "-shared", "-fPIC", "-ffp-contract=off", "-o", str(made), str(SOURCE))
    return made


@pytest.fixture
def twin(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twin]:
    """Kernels that are compiled call the twin."""
    monkeypatch.setattr(tiles, "functions", by_twin)
    yield Twin(library)


def compiled(net: Net, cores: int = 2) -> Code:
    """A network compiled for tiles."""
    return pipeline.compile_module(adapter.lower(net.proto()), asked(cores))


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "whole tiles": ((1, 64, 8, 16), (64, 64, 1, 1), {}),
    "1x1, odd sizes": ((1, 70, 7, 7), (45, 70, 1, 1), {}),
    "1x1 of a batch, strides": ((2, 66, 9, 63), (64, 66, 1, 1), {"stride": 2}),
    "3x3, a border": ((2, 66, 13, 33), (17, 66, 3, 3), {"padding": 1}),
    "3x3, strides and dilation": ((1, 66, 15, 40), (70, 66, 3, 3),
                                  {"padding": 2, "stride": 2, "dilation": 2}),
    "groups": ((1, 96, 7, 19), (66, 32, 3, 3), {"groups": 3, "padding": 1}),
    "a map narrower than a tile": ((1, 128, 7, 7), (130, 128, 3, 3), {"padding": 1}),
}  # fmt: skip


def conv(net: Net, x: Array, w: Array, bias: Array, how: dict[str, Any]) -> str:
    """A convolution of ONNX by torch's words."""
    pads, strides, dilations = (
        [how.get(name, usual)] * 2 for name, usual in (("padding", 0), ("stride", 1),
                                                       ("dilation", 1))
    )  # fmt: skip
    return net.op(
        "Conv", net.input(values=x), w, bias, pads=pads * 2, strides=strides,
        dilations=dilations, group=how.get("groups", 1),
    )  # fmt: skip


@needs_bf16
@pytest.mark.parametrize("case", CASES)
def test_convolutions_are_what_float64_gives_of_rounded_operands(case: str, twin: Twin) -> None:
    x_shape, w_shape, how = CASES[case]
    net = Net(0)
    x, w, bias = net.random(*x_shape), net.random(*w_shape), net.random(w_shape[0])
    net.outputs = [conv(net, x, w, bias, how)]
    code = compiled(net)
    (got,), want = computed(code, net.proto(), net.inputs), in_float64(x, w, bias, **how)
    assert rules(code) == ["tiles"]
    assert twin.products() > 0
    terms = int(np.prod(w_shape[1:]))
    sizes = in_float64(np.abs(x), np.abs(w), np.abs(bias), **how)
    assert np.all(np.abs(got - want) <= 2.0**-24 * (terms + 4) * sizes)


@needs_bf16
def test_any_sizes_are_what_float64_gives_of_rounded_operands(
    twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_plan, "cycles", lambda *_: 0.0)
    rng = np.random.default_rng(1)

    def some(*values: int) -> int:
        return int(rng.choice(values))

    for seed in range(12):
        net, groups, kernel = Net(seed), some(1, 1, 2), some(1, 3, 5)
        channels = 32 * some(1, 2) if groups > 1 else some(8, 30, 32, 70)
        x = net.random(some(1, 2), channels * groups, some(5, 6), some(5, 16, 17, 31, 48))
        w = net.random(some(1, 9, 16, 50) * groups, channels, kernel, kernel)
        bias, stride, pad = net.random(len(w)), some(1, 2), some(0, kernel // 2)
        net.outputs = [conv(net, x, w, bias, {"stride": stride, "padding": pad, "groups": groups})]
        code = compiled(net, some(1, 2))
        (got,) = computed(code, net.proto(), net.inputs)
        how = {"stride": stride, "padding": pad, "groups": groups}
        want, sizes = (in_float64(*each, **how) for each in ((x, w, bias),
                       (np.abs(x), np.abs(w), np.abs(bias))))  # fmt: skip
        assert rules(code) == ["tiles"]
        assert twin.products() > 0
        assert np.all(np.abs(got - want) <= 2.0**-24 * (kernel**2 * channels + 4) * sizes)


@needs_bf16
def test_what_is_fused_follows_the_sums_of_pixels_that_are_computed_twice(twin: Twin) -> None:
    net = Net(2)
    x, w = net.random(1, 64, 3, 35), net.random(64, 64, 3, 3) / np.float32(24)
    y = net.op("Sigmoid", net.op("Conv", net.input(values=x), w, net.random(64), pads=[1] * 4))
    y = net.op("Add", y, net.input(1, 64, 3, 35))
    net.outputs = [net.op("Conv", net.op("Relu", y), net.random(64, 64, 1, 1) / np.float32(8))]
    code = compiled(net)
    assert set(rules(code)) == {"tiles"}
    (got,), (want,) = computed(code, net.proto(), net.inputs), wanted(net.proto(), net.inputs)
    assert twin.products() > 0
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-2 * np.abs(want).max())


@needs_bf16
def test_infinities_and_not_a_numbers_come_out_as_in_float32(twin: Twin) -> None:
    net = Net(3)
    x, w = net.random(64, 72), np.abs(net.random(72, 48)) + 0.1
    x[3, 5], x[7, 2], x[9, 1] = np.inf, np.nan, -np.inf
    x[11, 4] = np.finfo(np.float32).max  # Nearest to which is infinity.
    net.outputs = [net.op("MatMul", net.input(values=x), w)]
    code = compiled(net)
    (got,) = computed(code, net.proto(), net.inputs)
    assert rules(code) == ["tiles"]
    assert twin.products() > 0
    with np.errstate(all="ignore"):
        want = rounded(x) @ rounded(w)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    infinite = np.isinf(want)
    assert infinite.any() and np.isnan(want).any()
    np.testing.assert_array_equal(got[infinite], want[infinite])
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-4)


def of_bytes(cores: int = 2) -> Board:
    """A board that multiplies tiles of bytes."""
    board = load_board("x86-64-v4")
    unit = msgspec.structs.replace(board.processor, features=BYTES)
    return msgspec.structs.replace(board, unit=unit, cores=cores)


@needs_dot
def test_bytes_give_the_very_integers(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_plan, "cycles", lambda *_: 0.0)
    rng = np.random.default_rng(2)

    def some(*values: int) -> int:
        return int(rng.choice(values))

    for seed in range(12):
        net, groups, (rows, columns) = Quantised(seed), some(1, 1, 2), (some(1, 3), some(1, 2, 3))
        channels = 64 * groups if groups > 1 else some(3, 8, 31, 64, 140)
        out, pads = some(1, 5, 33, 70) * groups, [some(0, 1, 2) for _ in range(4)]
        x = net.input(some(1, 2), channels, some(5, 6), some(4, 16, 35))
        y = net.conv(x, channels, out, (rows, columns), some(0, 7, 255), group=groups, pads=pads,
                     strides=[some(1, 2), some(1, 2)])  # fmt: skip
        net.result(y)
        net.result(net.matmul(net.input(some(1, 20), 64), 64, some(20, 33), some(0, 128)))
        proto = net.proto()
        code = pipeline.compile_module(adapter.lower(proto), of_bytes(some(1, 2)))
        got, want = computed(code, proto, net.inputs), net.wanted()
        assert [rule for rule in rules(code) if "tiles" in rule] == ["bytetiles"] * 2
        assert twin.products() > 0
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_where_no_byte_stands_for_zero_the_border_is_left_to_another_family() -> None:
    conv = of_maps((1, 64, 9, 9), (1, 64, 9, 9), 1, (3, 3), (1, 1), (1, 1))
    inside = of_maps((1, 64, 9, 9), (1, 64, 7, 7), 1, (3, 3), (1, 1), (0, 0))
    assert byte_tiles.planned(conv, 3) is None
    assert byte_tiles.planned(inside, 3) is not None
    assert byte_tiles.planned(conv, -256) is None
    assert byte_tiles.planned(conv, -255) is not None


def test_the_instruction_on_bytes_is_there() -> None:
    net = Quantised(3)
    net.result(net.conv(net.input(1, 64, 16, 32), 64, 64, (1, 1), 3))
    code = pipeline.compile_module(adapter.lower(net.proto()), of_bytes())
    assert "bytetiles" in rules(code)
    text = adapter.assembly(code.library)
    assert re.search(r"\btdpbusd\b", text) and re.search(r"\bldtilecfg\b", text)


def test_a_part_asks_for_no_tiles_that_it_does_not_use() -> None:
    net = Net(8)
    net.outputs = [net.op("Relu", net.input(1, 64, 6, 6))]
    for board in (asked(), of_bytes()):
        code = pipeline.compile_module(adapter.lower(net.proto()), board)
        assert set(unused_tiles(code, board)) == {"+amx-bf16", "+amx-int8"}
    assert unused_tiles(compiled(some_convolution()), asked()) == ("+amx-int8",)


@pytest.mark.parametrize("worst", [np.inf, np.nan, 3.395e38])
def test_weights_that_do_not_stay_finite_meet_no_zeros_beyond_the_map(worst: float) -> None:
    net = Net(4)
    w = net.random(64, 64, 5, 5)
    w[3, 4, 1, 2] = worst
    net.outputs = [net.op("Conv", net.input(1, 64, 32, 32), w, pads=[2] * 4)]
    plan = pipeline.plan_module(adapter.lower(net.proto()), asked())
    assert [step.rule for step in plan.steps if step.rule != "map"] == ["pairs"]


def some_convolution() -> Net:
    """A network that is computed on tiles."""
    net = Net(5)
    y = net.op("Relu", net.op("Conv", net.input(1, 64, 16, 16), net.random(64, 64, 1, 1)))
    net.outputs = [net.op("Conv", y, net.random(40, 64, 5, 5) / 40, pads=[2] * 4)]
    return net


def test_the_instructions_are_there_and_every_stretch_begins_and_ends() -> None:
    code = compiled(some_convolution())
    assert rules(code) == ["tiles", "tiles"]
    text = adapter.assembly(code.library)
    for name in ("tileloadd", "tilestored", "tilezero", "tdpbf16ps"):
        assert re.search(rf"\b{name}\b", text)
    assert "splitc_tile" not in re.sub(r"\.?L?splitc_tiles_\d+", "", text)
    assert len(re.findall(r"\tldtilecfg", text)) == len(re.findall(r"\ttilerelease", text)) == 2


def test_a_linked_part_has_the_instructions(tmp_path: Path) -> None:
    objdump = shutil.which("llvm-objdump-19") or shutil.which("llvm-objdump")
    if objdump is None:
        pytest.skip("llvm-objdump is not installed")
    TvmBackend().write(compiled(some_convolution()), asked(), tmp_path, runtime=False)
    (library,) = tmp_path.glob("*.so")
    text = subprocess.run([objdump, "-d", str(library)], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    for name in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"):
        assert name in text


def test_only_who_asks_gets_tiles_and_only_beside_what_rounds() -> None:
    board = load_board("x86-64-v4")
    able = msgspec.structs.replace(
        board, unit=msgspec.structs.replace(board.processor, features=FEATURES)
    )
    assert machine_of(able) == machine_of(board)
    assert machine_of(asked()).tiling("bfloat16") is not None
    alone = msgspec.structs.replace(
        board, unit=msgspec.structs.replace(board.processor, on_request=FEATURES[1:])
    )
    with pytest.raises(UsageError, match="no target multiplies in bf16"):
        at_precision({"server": alone}, "bf16")


@pytest.mark.skipif(bool(LACKING), reason="this processor has no products of tiles")
@pytest.mark.parametrize("case", CASES)
def test_the_processor_computes_what_its_twin_does(
    case: str, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x_shape, w_shape, how = CASES[case]
    net = Net(6)
    net.outputs = [conv(net, net.random(*x_shape), net.random(*w_shape), net.random(w_shape[0]),
                        how)]  # fmt: skip
    (got,) = computed(compiled(net), net.proto(), net.inputs)
    monkeypatch.setattr(tiles, "functions", by_twin)
    twin = Twin(library)
    (want,) = computed(compiled(net), net.proto(), net.inputs)
    assert twin.products() > 0
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * np.abs(want).max())


@pytest.mark.skipif(not LACKING, reason="this processor has products of tiles")
def test_a_part_for_tiles_is_refused_where_there_are_none(tmp_path: Path) -> None:
    net = Net(7)
    y = net.op("Relu", net.input(1, 64, 16, 16))
    net.outputs = [net.op("Conv", y, net.random(64, 64, 1, 1))]
    model = save(net.proto(), tmp_path / "net.onnx")
    bundle = splitc.compile(model, cut=y, head="x86-64-v2", tail=asked(), output=tmp_path / "b")
    assert json.loads((bundle.path / "tail" / "manifest.json").read_text())["features"] == [
        *FEATURES
    ]
    with pytest.raises(ToolchainError, match="cannot load the tail") as raised:
        load_part(bundle.path / "tail")
    assert LACKING in raised.value.why
    frame = tmp_path / "x.npy"
    np.save(frame, np.zeros((1, 16, 16, 64), np.float32))
    done = subprocess.run([bundle.path / "tail" / "splitc-run", frame], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == ToolchainError.exit_code
    assert done.stderr.startswith("splitc-run: cpu: the part needs ")


@pytest.mark.skipif(host_isa() != "x86_64", reason="needs an x86-64 machine")
def test_a_machine_that_gives_no_tiles_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitc.cost.board.x86_level", lambda: "x86-64-v4")
    monkeypatch.setattr("splitc.cost.board._flags", lambda: {"avx512_bf16"})
    why = why_not_here("x86_64", "x86-64-v4", FEATURES)
    assert why == "it needs +amx-bf16, which this machine's processor lacks"
    monkeypatch.setattr("splitc.cost.board._flags", lambda: {"avx512_bf16", "amx_bf16"})
    monkeypatch.setattr("splitc.cost.board.why_no_tiles", lambda: "the kernel gives none")
    why = why_not_here("x86_64", "x86-64-v4", FEATURES)
    assert why == "it needs tiles, and the kernel gives none"
    assert why_not_here("x86_64", "x86-64-v4", FEATURES[:1]) == ""
    assert load_board("host").processor.on_request == FEATURES[:1]
    monkeypatch.setattr("splitc.cost.board.why_no_tiles", lambda: "")
    assert why_not_here("x86_64", "x86-64-v4", FEATURES) == ""
    assert load_board("host").processor.on_request == FEATURES


def test_the_kernel_is_asked_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[tuple[int, ...]] = []

    class Kernel:
        """One that refuses."""

        def __init__(self, *_: Any, **__: Any) -> None:
            self.syscall = Call()

    class Call:
        """The system call, as ctypes has it."""

        restype: Any = None

        def __call__(self, *numbers: Any) -> int:
            asked_for.append(tuple(each.value for each in numbers))
            ctypes.set_errno(errno.EOPNOTSUPP)
            return -1

    monkeypatch.setattr(tile_registers.ctypes, "CDLL", Kernel)
    monkeypatch.setattr(tile_registers.platform, "machine", lambda: "x86_64")
    tile_registers.why_no_tiles.cache_clear()
    try:
        for _ in range(2):
            why = tile_registers.why_no_tiles()
            assert "gives this process no tiles (AMX): Operation not supported" in why
        # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
        assert asked_for == [(158, 0x1023, 18)]
    finally:
        tile_registers.why_no_tiles.cache_clear()


def test_predicted_times_know_tiles() -> None:
    graph = parse_graph("""
    %x = input() : 1x256x28x28
    %a = conv(%x) {params=65536, flops=102760448} : 1x256x28x28
    %y = relu(%a) : 1x256x28x28
    """)
    board = load_board("x86-64-v4")
    unit = msgspec.structs.replace(board.processor, on_request=FEATURES[:1])
    pairs = at_precision({"a": msgspec.structs.replace(board, unit=unit, cores=2)}, "bf16")["a"]
    of_pairs, of_tiles = (
        sum(terms.seconds(IDLE) for terms in BoardCost(each).terms(graph))
        for each in (pairs, asked())
    )
    assert 0.1 * of_pairs < of_tiles < 0.8 * of_pairs
