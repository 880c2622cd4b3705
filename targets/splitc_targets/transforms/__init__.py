# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a part's graph before it is planned."""
