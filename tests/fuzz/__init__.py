# SPDX-License-Identifier: Apache-2.0
"""Fuzzing that is guided by coverage: of what reads packets and manifests."""
