# SPDX-License-Identifier: Apache-2.0
"""Operators on sequences of several lengths, in forms that TVM reads."""

from __future__ import annotations

import numpy as np

from splitc_targets.source.draft import Node


def reverse_sequence(node: Node) -> bool:
    """ReverseSequence: each element is taken from where it stands in the sequence turned around.

    Of a sequence of n steps the first n are turned, the others stay.
    """
    shape, draft = node.shape(), node.draft
    if shape is None:
        return False
    time, batch = (node.given.get(f"{name}_axis", k) for k, name in enumerate(("time", "batch")))
    steps = np.arange(shape[time]).reshape([-1 if k == time else 1 for k in range(len(shape))])
    along = np.array([-1 if k == batch else 1 for k in range(len(shape))])
    step = draft.constant(steps)
    length = draft.add("Reshape", node.input(1), draft.constant(along))
    last = draft.add("Sub", length, draft.constant(np.array(1)))
    turned = draft.add("Where", draft.add("Less", step, length),
                       draft.add("Sub", last, step), step)  # fmt: skip
    places = draft.add("Expand", turned, draft.constant(np.array(shape)))
    draft.add("GatherElements", node.input(0), places, output=node.output(0), axis=time)
    return True
