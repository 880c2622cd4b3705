# SPDX-License-Identifier: Apache-2.0
"""How right a split network is, by what the link loses: on your data, networks side by side.

from splitc.evaluate import evaluate, of_bundle, read_samples

with of_bundle("net.splitc") as (subject, *_):
    found = evaluate([subject], lambda one: read_samples("test.npz", one), (0.0, 0.2))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.lazy_names import lazy_names, listed_names

if TYPE_CHECKING:
    from splitc.evaluate.accuracy import Evaluation, Point, evaluate
    from splitc.evaluate.grad_cam import importance
    from splitc.evaluate.samples import Samples, read_samples, samples_of
    from splitc.evaluate.subject import Subject, of_bundle, of_network

__all__ = [
    "Evaluation", "Point", "Samples", "Subject", "evaluate", "importance", "of_bundle",
    "of_network", "read_samples", "samples_of",
]  # fmt: skip

__getattr__ = lazy_names(__name__, {
    "Evaluation": "accuracy", "Point": "accuracy", "evaluate": "accuracy",
    "importance": "grad_cam",
    "Samples": "samples", "read_samples": "samples", "samples_of": "samples",
    "Subject": "subject", "of_bundle": "subject", "of_network": "subject",
})  # fmt: skip

__dir__ = listed_names(__name__)
