# SPDX-License-Identifier: Apache-2.0
"""What ARM code executes is counted, and priced as llvm-mca and the board's figures say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

import splitc
from splitc.build.backend import Kernel
from splitc.build.profile_static import static_profile
from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.cost.profile import read_profile
from splitc.errors import ToolchainError, UsageError
from splitc_targets import pipeline
from splitc_targets.emitted.blocks import Block, by_kernel, with_counters
from splitc_targets.emitted.core_model import CoreModel
from splitc_targets.emitted.counting import count_blocks
from splitc_targets.emitted.estimate import call_time
from splitc_targets.machine.core import core_of
from splitc_targets.tvm import adapter
from tests.helpers import model_of, save

RPI4 = load_board("rpi4")
MACS = {"wide": 64 * 32 * 28 * 28, "classifier": 64 * 1000}


def network() -> ModelProto:
    """A 1x1 convolution whose tiles divide it, what fuses with it, and a product of a vector."""
    rng = np.random.default_rng(0)
    return model_of(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "wide"),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["g"], "average"),
            helper.make_node("Flatten", ["g"], ["f"], "flatten"),
            helper.make_node("Gemm", ["f", "v"], ["y"], "classifier"),
        ],
        {"x": [1, 32, 28, 28]},
        ["y"],
        {
            "w": rng.standard_normal((64, 32, 1, 1)).astype("f4"),
            "v": rng.standard_normal((64, 1000)).astype("f4"),
        },
    )


@pytest.fixture(scope="module")
def mca() -> CoreModel:
    try:
        return CoreModel.of(RPI4.processor)
    except ToolchainError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def code() -> pipeline.Code:
    return pipeline.compile_module(adapter.lower(splitc.load(network()).proto), RPI4)


@pytest.fixture(scope="module")
def blocks(code: pipeline.Code, qemu: None) -> Mapping[str, list[Block]]:
    feed = [np.random.default_rng(1).standard_normal((1, 32, 28, 28)).astype("f4")]
    return count_blocks(code, splitc.load(network()).graph, RPI4, feed)


def of_op(code: pipeline.Code, op: str) -> Kernel:
    (found,) = (each for each in code.kernels if op in each.op)
    return found


def test_as_many_vector_multiply_adds_run_as_the_mathematics_has(
    code: pipeline.Code, blocks: Mapping[str, list[Block]]
) -> None:
    for op, macs in (("conv2d", MACS["wide"]), ("matmul", MACS["classifier"])):
        ran = blocks[of_op(code, op).name]
        assert sum(block.fmas * block.count for block in ran) == macs / 4, op


def test_a_convolution_takes_no_less_than_its_multiply_adds(
    mca: CoreModel, code: pipeline.Code, blocks: Mapping[str, list[Block]]
) -> None:
    assert mca.fma_cycles() == pytest.approx(1.0, rel=0.01)
    conv = of_op(code, "conv2d")
    ran = blocks[conv.name]
    mca.tell(ran)
    assert all(block.cycles > 0 for block in ran)
    assert any(block.shared for block in ran)
    time = call_time(conv, ran, RPI4)
    least = MACS["wide"] / 4 / RPI4.clock_hz / RPI4.cores
    assert least < time.compute_s < 2 * least


def test_what_reads_many_weights_waits_for_memory(
    mca: CoreModel, code: pipeline.Code, blocks: Mapping[str, list[Block]]
) -> None:
    product = of_op(code, "matmul")
    assert product.weight_bytes >= 4 * 64 * 1000
    mca.tell(blocks[product.name])
    time = call_time(product, blocks[product.name], RPI4)
    assert time.memory_s == pytest.approx(product.weight_bytes / RPI4.memory_bandwidth)
    assert time.least_s == pytest.approx(time.memory_s + RPI4.layer_overhead_s)
    exposed = core_of(RPI4).exposed
    assert 0 < exposed < 1
    assert time.seconds == pytest.approx(time.least_s + exposed * time.compute_s)


TEXT = """\
	.type	__tvm_ffi_conv_0,@function
__tvm_ffi_conv_0:
	adrp	x1, .L__tvm_parallel_lambda
	add	x1, x1, :lo12:.L__tvm_parallel_lambda
	mov	x0, .L__tvm_parallel_lambda
	tbnz	w0, #0, .LBB0_2
	add	x2, x2, #1
.LBB0_2:
	ret
.Lfunc_end0:
	.type	.L__tvm_parallel_lambda,@function
.L__tvm_parallel_lambda:
	fmla	v0.4s, v1.4s, v2.4s
	str	q0, [sp, #16]
	ret
.Lfunc_end1:
"""


def test_assembly_is_cut_where_control_may_enter_or_leave() -> None:
    found, counted = with_counters(TEXT.splitlines())
    assert [(block.function, len(block.lines)) for block in found] == [
        ("__tvm_ffi_conv_0", 4), ("__tvm_ffi_conv_0", 1), ("__tvm_ffi_conv_0", 1),
        (".L__tvm_parallel_lambda", 3),
    ]  # fmt: skip
    assert (found[3].fmas, found[3].spills, found[3].shared) == (1, 1, True)
    assert sum(":lo12:splitc_counts+" in line for line in counted) == len(found)
    # A test of a bit reaches no further than 32 KB: with counters between, a branch does it.
    assert "\tb\t.LBB0_2" in counted
    for block in found:
        block.count = 1
    assert by_kernel(found, ["conv_0"])["conv_0"] == found


def test_a_static_profile_names_layers_board_and_tools(
    mca: CoreModel, qemu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, place = save(network(), tmp_path / "net.onnx"), tmp_path / "rpi4.json"
    assert run(["profile", str(model), "--static", "--target", "rpi4", "-o", str(place)]) == 0
    captured = capsys.readouterr()
    for step in ("compiling for rpi4", "counting what runs, under qemu"):
        assert step in captured.err
    assert "wide..relu" in captured.out
    assert "calibrated by ncnn's times: " in captured.out
    made = read_profile(place)
    assert (made.figures, made.network) == ("predicted", "net")
    assert made.machine == f"rpi4: its code under llvm-mca {mca.release}"
    assert set(made.layers) == {"wide", "relu", "average", "classifier"}
    assert sum(made.layers.values()) == pytest.approx(sum(each.ms for each in made.kernels))
    assert {"wide", "relu"} <= set(made.kernels[0].layers)


def test_options_that_do_nothing_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for useless in (["--rpc", "pi:1"], ["--cuts", "wide"], ["--threads", "1"]):
        assert run(["profile", "none.onnx", "--static", *useless]) == 2
        assert f"{useless[0]} does nothing with --static" in capsys.readouterr().err


def test_what_a_static_estimate_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = splitc.load(network())
    with pytest.raises(UsageError, match="no static estimate for x86-64-v3"):
        static_profile(model, target="x86-64-v3")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match=r"llvm-mca is not installed\n.*apt install llvm"):
        static_profile(model, target="rpi4")


def test_a_core_that_llvm_mca_does_not_know_is_named(mca: CoreModel, tmp_path: Path) -> None:
    strange = CoreModel(RPI4.processor, str(tmp_path / "llvm-mca"), "0")
    program = tmp_path / "llvm-mca"
    program.write_text("#!/bin/sh\necho 'error: found an unsupported instruction' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ToolchainError, match=r"llvm-mca fails(\n.*)*unsupported instruction"):
        strange.fma_cycles()
