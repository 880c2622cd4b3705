# SPDX-License-Identifier: Apache-2.0
"""Which rule plans which operation."""

from __future__ import annotations

from splitc_targets.schedules import (
    rules_cast,
    rules_conv,
    rules_extremes,
    rules_matmul,
    rules_reduce,
    rules_rows,
    rules_shape,
    rules_sort,
    rules_window,
)
from splitc_targets.schedules.planner import Rule

RULES: dict[str, Rule] = {
    **rules_cast.RULES,
    **rules_conv.RULES,
    **rules_extremes.RULES,
    **rules_matmul.RULES,
    **rules_reduce.RULES,
    **rules_rows.RULES,
    **rules_shape.RULES,
    **rules_sort.RULES,
    **rules_window.RULES,
}
"""By operation; what is not here, or whose rule declines, falls back to TVM's loops."""
