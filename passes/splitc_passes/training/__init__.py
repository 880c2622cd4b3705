# SPDX-License-Identifier: Apache-2.0
"""Passes that are there to be trained: noise at the cut, a student in the head's place."""
