# SPDX-License-Identifier: Apache-2.0
"""Operators on sequences of several lengths, in forms that TVM reads."""

from __future__ import annotations

import numpy as np

from splitc_targets.source.draft import Array, Node


def reverse_sequence(node: Node) -> bool:
    """ReverseSequence: each element is taken from where it stands in the sequence turned around.

    Of a sequence of n steps the first n are turned, the others stay.
    """
    shape, draft = node.shape(), node.draft
    if shape is None:
        return False
    time, batch = int(node.given.get("time_axis", 0)), int(node.given.get("batch_axis", 1))
    along = [-1 if k == batch else 1 for k in range(len(shape))]
    steps: Array = np.arange(shape[time])
    step = draft.constant(steps.reshape([-1 if k == time else 1 for k in range(len(shape))]))
    length = draft.add("Reshape", node.input(1), draft.constant(np.array(along)))
    last = draft.add("Sub", length, draft.constant(np.array(1)))
    turned = draft.add("Where", draft.add("Less", step, length),
                       draft.add("Sub", last, step), step)  # fmt: skip
    places = draft.add("Expand", turned, draft.constant(np.array(shape)))
    draft.add("GatherElements", node.input(0), places, output=node.output(0), axis=time)
    return True
