# SPDX-License-Identifier: Apache-2.0
"""Pooling and means over maps."""

from __future__ import annotations

from splitc_targets.schedules.planner import Rule

RULES: dict[str, Rule] = {}
