# SPDX-License-Identifier: Apache-2.0
"""Measured search on top of the analytic choices: optional, resumable, never needed."""
