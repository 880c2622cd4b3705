# SPDX-License-Identifier: Apache-2.0
"""Bundles: head, tail, golden vectors, and whether they compute what the network does."""

from splitc.bundle.bundle import Bundle

__all__ = ["Bundle"]
