# SPDX-License-Identifier: Apache-2.0
"""Algorithms that find the cheapest cut."""
