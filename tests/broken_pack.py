# SPDX-License-Identifier: Apache-2.0
"""A pack that cannot be imported."""

raise RuntimeError("this pack is broken")
