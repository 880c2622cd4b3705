# SPDX-License-Identifier: Apache-2.0
"""onnx's own test cases: none comes out wrong, none crashes, what passed still does, and the page
of operators says so.

Here one case of each operator and those that once failed, in one process; all of them by
`benchmarks/conformance.py`.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from conformance_apart import BAR
from conformance_cases import case_of, names
from conformance_older import NotWritten, Rung, case_at, cases_at, rungs
from conformance_opsets import operators
from conformance_run import CRASHED, PASSED, REFUSED, WRONG, Outcome, tried

from benchmarks.operators import COUNTS, PAGE, Span, own_words, page, spans

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


def case(name: str, opset: int, outcome: str = PASSED, **rest: object) -> dict[str, object]:
    return {"case": "c", "outcome": outcome, "ops": [name], "loops": [], "reason": "",
            "opset": opset, **rest}  # fmt: skip


def test_what_becomes_of_an_operator_is_what_became_of_its_own_cases_at_an_opset() -> None:
    why = "the network has operators that cannot be compiled: Mod: fmod=0"
    found = own_words([
        case("Mod", 28, loops=["mod"]), case("Mod", 13), case("Mod", 14, REFUSED, reason=why),
        case("Mod", 10, REFUSED, reason=why), case("Celu", 12, loops=[]),
        case("Shape", 7, REFUSED, reason="no layer computes anything from an input: 'x'"),
        case("Add", 14, WRONG) | {"ops": ["Add", "Abs"]},
        case("Conv", 22, loops=["conv"], stored=[]), case("Conv", 11, loops=["x"], stored=["x"]),
        case("Abs", 13), case("Abs", 13, REFUSED, reason="tensor 'x' cannot cross: no bfloat16"),
    ])  # fmt: skip
    assert found == {
        "Abs": {"13": "rule"}, "Celu": {"12": "body"}, "Shape": {"7": "computed beforehand"},
        "Conv": {"11": "loops", "22": "rule; loops where nothing is stored"},
        "Mod": {"10": "refused: fmod=0", "13": "rule; some forms refused: fmod=0", "28": "loops"},
    }  # fmt: skip


def test_opsets_of_which_the_same_becomes_stand_together() -> None:
    counts = {
        "opsets": {"Clip": {"1": "not tried: why", "6": "loops", "7": "rule", "11": "rule",
                            "12": "rule", "13": "loops"}, "Upsample": {"7": "rule", "9": "rule"}},
        "own": {"Clip": {"13": "rule"}},
    }  # fmt: skip
    assert spans("Clip", counts) == [
        Span(1, 5, "not tried: why"), Span(6, 6, "loops"), Span(7, None, "rule")
    ]  # fmt: skip
    assert spans("Upsample", counts) == [Span(7, 9, "rule")]


AT_OPSETS = {
    "BatchNormalization": 7, "Clip": 6, "Dropout": 7, "Hardmax": 11, "LogSoftmax": 7, "Pad": 2,
    "ReduceSum": 11, "Resize": 10, "Slice": 7, "Softmax": 7, "Split": 2, "Squeeze": 7, "TopK": 7,
    "Upsample": 7,
}  # fmt: skip
"""Operators whose meaning or words changed since."""


@pytest.mark.parametrize(("name", "opset"), AT_OPSETS.items())
def test_older_words_of_a_case_are_compiled_to_what_onnxruntime_gives(
    name: str, opset: int
) -> None:
    found, why = cases_at(Rung(name, opset), 3)
    assert found, why
    made = [tried(case_at(each), fast=True) for each in found]
    assert not [one for one in made if one.outcome in (WRONG, CRASHED) or one.late]
    assert [one for one in made if one.outcome == PASSED]


def test_an_older_softmax_takes_all_axes_from_its_own_on_for_one() -> None:
    case = case_at("test_softmax_default_axis@7")
    (x,), (y,) = case.inputs.values(), case.outputs.values()
    flat = np.exp(x).reshape(len(x), -1)
    np.testing.assert_allclose(y.reshape(len(x), -1), flat / flat.sum(1, keepdims=True), rtol=1e-5)


def test_what_an_older_opset_has_no_words_for_is_no_case_of_it() -> None:
    for name, why in (
        ("test_slice_neg_steps@7", "steps"),
        ("test_cast_FLOAT_to_UINT4@13", "UINT4"),
    ):
        with pytest.raises(NotWritten, match=f"(?i){why}"):
            case_at(name)


def test_every_opset_of_an_operator_that_compiles_is_tried_or_says_why_not() -> None:
    """Else: python benchmarks/conformance_opsets.py."""
    kept = json.loads(COUNTS.read_text("utf-8"))["opsets"]
    for name in operators():
        assert [*kept.get(name, {})] == [str(rung.opset) for rung in rungs(name)], name
    bad = [(name, word) for name, by in kept.items() for word in by.values()
           if word.startswith((WRONG, CRASHED))]  # fmt: skip
    assert not bad


def test_the_page_of_operators_is_what_the_table_says() -> None:
    """Else: python benchmarks/operators.py."""
    assert PAGE.read_text("utf-8") == page(json.loads(COUNTS.read_text("utf-8")))
