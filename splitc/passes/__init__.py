# SPDX-License-Identifier: Apache-2.0
"""Passes: rewrites of a model, one after another, and what they know of a cut."""

from splitc.passes.base import Pass, Pipeline, Step, make_pass

__all__ = ["Pass", "Pipeline", "Step", "make_pass"]
