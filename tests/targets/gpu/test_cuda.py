# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Kernels as NVIDIA's compiler sees them: for every board, with nothing spilled to memory."""

from __future__ import annotations

import math

import pytest

from splitc.cost.board import Gpu, boards, load_board
from splitc.cost.precision import at_precision
from splitc.errors import ToolchainError
from splitc_targets.gpu import cuda
from splitc_targets.gpu.kernels import ordinary_products
from splitc_targets.gpu.kernels.ordinary_products import Tile
from tests.targets.gpu.device import compiled
from tests.targets.gpu.test_simulated import NETS
from tests.targets.nets import Net

BOARDS = sorted(
    name
    for name, board in boards().items()
    if isinstance(board.unit, Gpu) and board.unit.api == "cuda" and name != "host-gpu"
)
SHARED_BYTES, REGISTERS = 48 * 1024, 65536
"""What a block may have of a multiprocessor, of every GPU since Volta (CUDA C++ Programming
Guide, table of technical specifications), without asking for more."""


def _precisions(name: str) -> list[str]:
    unit = boards()[name].unit
    assert isinstance(unit, Gpu)
    return ["float32", *sorted(unit.tensor)]


def _net() -> Net:
    """Every kind of kernel that rules write, at sizes that take the larger tiles too."""
    net = Net(0)
    for build in NETS.values():
        net.outputs.append(build(net))
    wide = net.input(1, 64, 56, 56)
    net.outputs.append(net.op("Conv", wide, net.random(256, 64, 1, 1)))
    net.outputs.append(net.op("Conv", wide, net.random(64, 64, 3, 3), pads=[1, 1, 1, 1]))
    net.outputs.append(net.op("MatMul", net.input(512, 512), net.random(512, 512)))
    deep = net.op("MatMul", net.input(49, 2048), net.random(2048, 256))  # Its depth is shared.
    net.outputs.append(net.op("Relu", deep))
    for rows in (1, 8):  # A few rows read weights in float16 where products are in that.
        net.outputs.append(net.op("MatMul", net.input(rows, 1280), net.random(1280, 1000)))
    for size in (64, 128, 240):
        q, k, v = net.input(12, 197, size), net.input(12, size, 197), net.input(12, 197, size)
        scores = net.op("Softmax", net.op("MatMul", q, k), axis=-1)
        net.outputs.append(net.op("MatMul", scores, v))
    return net


@pytest.mark.parametrize(
    ("name", "precision"), [(name, each) for name in BOARDS for each in _precisions(name)]
)
def test_every_kernel_compiles_and_spills_nothing(name: str, precision: str) -> None:
    board = at_precision({"server": load_board(name)}, precision)["server"]
    code = compiled(_net().proto(), board)
    assert ("splitc_multiply_" in code.program.source) == (precision != "float32")
    assert "splitc_copy_" in code.program.source or precision != "float32"
    unit = board.unit
    assert isinstance(unit, Gpu)
    made = cuda.compile_source(code.program.source, unit.arch)
    assert made.code.startswith(b"\x7fELF")
    threads = {each.symbol: math.prod(each.threads) for each in code.program.launches}
    assert made.usage.keys() == threads.keys()
    for symbol, usage in made.usage.items():
        assert usage.spill_bytes == 0, symbol
        assert usage.stack_bytes == 0, symbol
        assert usage.shared_bytes <= SHARED_BYTES, symbol
        assert usage.registers * threads[symbol] <= REGISTERS, symbol


def test_the_same_source_gives_the_same_bytes() -> None:
    net = Net(0)
    net.outputs = [net.op("Softmax", net.input(3, 300))]
    source = compiled(net.proto(), "cuda-sm90").program.source
    first, second = (cuda.compile_source(source, "sm_90").code for _ in range(2))
    assert first == second


def test_what_the_compiler_refuses_is_told() -> None:
    with pytest.raises(ToolchainError, match="refuses code for sm_90") as raised:
        cuda.compile_source('extern "C" __global__ void f() { nothing(); }', "sm_90")
    assert "nothing" in raised.value.why


def test_nothing_is_lost_of_what_kernels_call() -> None:
    called = "#define TWO 2\n__device__ __forceinline__ int twice(int x) { return TWO * x; }\n"
    kernel = 'extern "C" __global__ void f(int* y) { *y = twice(*y); }'
    source = f"#include <of TVM>\n{cuda.OURS}{called}{kernel}"
    assert cuda.compile_source(source, "sm_90").usage.keys() == {"f"}
    net = Net(0)
    net.outputs = [net.op("MatMul", net.input(20, 8), net.random(8, 8))]
    before, ours = compiled(net.proto(), "cuda-sm90").program.source.split(cuda.OURS)
    assert "splitc_" not in before and "#include" not in ours


def test_a_kernel_that_spills_is_given_the_registers_of_one_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An 8 by 4 piece of each thread, of which three blocks would fit but for a few registers.
    tile = Tile(128, 64, 8, 8, 4)
    monkeypatch.setattr(ordinary_products, "TILES", (tile,))
    net = Net(0)
    net.outputs = [net.op("MatMul", net.input(1024, 512), net.random(512, 512))]
    net.outputs.append(net.op("Relu", net.input(7, 9)))
    source = compiled(net.proto(), "cuda-sm86").program.source
    text = cuda._PRELUDE + source[cuda._start(source) :]
    first, made = cuda._compiled(text, "sm_86").usage, cuda.compile_source(source, "sm_86").usage
    (name,) = (name for name, usage in first.items() if usage.spill_bytes)
    assert made[name].spill_bytes == 0 and made[name].registers > first[name].registers
    assert {n: u for n, u in made.items() if n != name} == {
        n: u for n, u in first.items() if n != name
    }


def test_usage_is_read_from_the_assemblers_words() -> None:
    log = """\
ptxas info    : Compiling entry function 'f' for 'sm_90'
ptxas info    : Function properties for f
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 6144 bytes smem, 376 bytes cmem[0]
"""
    assert cuda.usage_of(log) == {"f": cuda.Usage(40, 6144, 16, 8)}
