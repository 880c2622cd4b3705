# SPDX-License-Identifier: Apache-2.0
"""The evaluator of expressions, against examples of GitHub's own documentation."""

from __future__ import annotations

import pytest

from tests.ci.expression import evaluate, fill
from tests.ci.runner import read_outputs

CONTEXTS = {
    "inputs": {"model": "a.onnx", "cache": "true", "artifact": ""},
    "steps": {"restore": {"outputs": {"cache-hit": "true"}}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.model", "a.onnx"),
        ("inputs.nothing", None),
        ("steps.restore.outputs.cache-hit == 'true'", True),
        ("steps.other.outputs.cache-hit != 'true'", True),
        ("'It''s open source!'", "It's open source!"),
        ("'octocat' == 'OctoCat'", True),
        ("!inputs.artifact", True),
        ("inputs.artifact || 'default'", "default"),
        ("inputs.cache == 'true' && (inputs.artifact == 'x' || inputs.model)", "a.onnx"),
    ],
)
def test_an_expression_has_its_value(text: str, value: object) -> None:
    assert evaluate(text, CONTEXTS) == value


@pytest.mark.parametrize("text", ["secrets.token", "always()", "inputs.model ==", "(true", "a b"])
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not known|left over|closes|early"):
        evaluate(text, CONTEXTS)


def test_text_is_filled_in_once() -> None:
    contexts = {"inputs": {"model": "${{ inputs.cache }}", "cache": "true"}}
    assert fill("-${{ inputs.model }}-${{inputs.none}}-", contexts) == "-${{ inputs.cache }}--"


def test_outputs_are_read_by_line_and_by_block() -> None:
    text = "a=1=2\nb<<END\nx\n\na=3\nEND\nc=\n"
    assert read_outputs(text) == {"a": "1=2", "b": "x\n\na=3", "c": ""}
    with pytest.raises(ValueError, match="not closed"):
        read_outputs("b<<END\nx\n")
