# SPDX-License-Identifier: Apache-2.0
"""Softmax and normalisations."""

from __future__ import annotations

from splitc_targets.schedules.planner import Rule

RULES: dict[str, Rule] = {}
