# SPDX-License-Identifier: Apache-2.0
"""What lies between two sites: bandwidth and delay, packets and their loss."""

from splitc.link.link import Link

__all__ = ["Link"]
