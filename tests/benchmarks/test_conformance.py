# SPDX-License-Identifier: Apache-2.0
"""onnx's own test cases: none comes out wrong, none crashes, what passed still does, and the page
of operators says so.

Here one case of each operator and those that once failed, in one process; all of them by
`benchmarks/conformance.py`.
"""

from __future__ import annotations

import json

from conformance_apart import BAR
from conformance_cases import case_of, names
from conformance_run import CRASHED, PASSED, WRONG, Outcome, tried

from benchmarks.operators import COUNTS, PAGE, loops_of, page

ONCE_WRONG = (
    "test_batchnorm_example_training_mode", "test_bitshift_left_int32_shift_ge_width",
    "test_expand_dim_changed", "test_isinf_negative", "test_isinf_positive",
    "test_mod_float_edge_cases_fmod_0_float32", "test_resize_downsample_sizes_linear_antialias",
    "test_resize_upsample_scales_linear_half_pixel_symmetric", "test_roialign_aligned_true",
    "test_roialign_mode_max", "test_sequence_insert_at_back", "test_spacetodepth_crd_mode",
)  # fmt: skip
ONCE_CRASHED = (
    "test_attention_3d_causal_expanded", "test_attention_4d_causal", "test_compress_0",
    "test_convtranspose_output_shape", "test_layer_normalization_4d_axis1", "test_nonzero_example",
    "test_relu_expanded_ver18", "test_swiglu", "test_top_k",
)  # fmt: skip


def chosen() -> list[str]:
    """One case of each operator, and those that once failed."""
    first: dict[str, str] = {}
    known = names()
    for name in known:
        word = name.removeprefix("test_").split("_")[0]
        first.setdefault(word, name)
    once = [name for name in (*ONCE_WRONG, *ONCE_CRASHED) if name in known]
    return [*dict.fromkeys((*first.values(), *once))]


def test_no_case_of_onnx_s_comes_out_wrong_or_crashes_and_what_passed_still_does() -> None:
    refused = set(json.loads(COUNTS.read_text("utf-8"))["refused_cases"])
    found = [tried(case_of(name), fast=True) for name in chosen()]
    assert len(found) > 200
    bad: list[Outcome] = [one for one in found if one.outcome in (WRONG, CRASHED) or one.late]
    assert not bad
    assert not [one for one in found if one.outcome != PASSED and one.case not in refused]


def test_the_bar_of_the_cases_that_count_is_kept() -> None:
    counts = json.loads(COUNTS.read_text("utf-8"))
    assert counts["wrong"] == counts["crashed"] == 0
    assert counts["counted_passed_percent"] >= BAR
    assert len(counts["refused_cases"]) == counts["refused"]
    assert {*counts["refused_cases"]} <= {*names()}


def test_an_operator_has_loops_where_its_own_cases_have() -> None:
    def case(loops: list[str] | None, *ops: str, outcome: str = PASSED) -> dict[str, object]:
        return {"outcome": outcome, "ops": ops, "loops": loops}

    assert loops_of([
        case([], "Abs"), case(["det"], "Det"), case([], "Det"), case(["x"], "Abs", "Det"),
        case(["x"], "Abs", outcome=WRONG), case(None, "Abs"),
    ]) == {"Abs": (0, 1), "Det": (1, 2)}  # fmt: skip


def test_the_page_of_operators_is_what_the_table_says() -> None:
    """Else: python benchmarks/operators.py."""
    assert PAGE.read_text("utf-8") == page(json.loads(COUNTS.read_text("utf-8")))
