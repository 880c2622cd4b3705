# SPDX-License-Identifier: Apache-2.0
"""Figures of a bundle: what they are called, gates on them, and how two bundles differ in them."""
