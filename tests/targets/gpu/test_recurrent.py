# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Recurrent layers on OpenCL's device give what onnxruntime gives."""

from __future__ import annotations

import pytest

from splitc_targets.gpu.kernels.recurrent import MOST_HIDDEN
from splitc_targets.tvm.adapter import CannotRun
from tests.targets.gpu.device import compiled, needs_opencl, run
from tests.targets.nets import assert_same, wanted
from tests.targets.rules.test_recurrent import FORMS, form_of, layer

SOME = (
    "lstm", "lstm, all it may be given", "lstm, other functions both ways",
    "lstm, weights at run time", "gru, weights at run time", "gru both ways",
    "gru that resets behind", "rnn, relu",
)  # fmt: skip
WIDE = {
    "lstm of more units than threads": form_of("LSTM", hidden=300, batch=1, steps=2),
    "gru of more units than threads": form_of("GRU", hidden=300, batch=2, steps=2),
}


@needs_opencl
@pytest.mark.parametrize("form", [*SOME, *WIDE])
def test_forms_are_computed_by_threads(form: str) -> None:
    proto, feed = layer(**(FORMS | WIDE)[form])
    code = compiled(proto)
    assert not code.fallbacks
    order = [feed[value.name] for value in proto.graph.input]
    assert_same(run(code, *order), wanted(proto, feed))


def test_a_state_larger_than_blocks_share_is_refused_by_name() -> None:
    proto, _ = layer("RNN", hidden=MOST_HIDDEN + 1, width=1, steps=1, batch=1, given=())
    with pytest.raises(CannotRun, match="recurrent"):
        compiled(proto)
