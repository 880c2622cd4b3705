# SPDX-License-Identifier: Apache-2.0
"""Which way through a bundle each frame takes, by what is measured of link, device and server."""

from splitc.policy.adaptive import Adaptive
from splitc.policy.base import Chooser, LinkState, Policy
from splitc.policy.fixed import Fixed
from splitc.policy.gauge import Gauge, Report
from splitc.policy.mapped import Mapped
from splitc.policy.option import Option

__all__ = [
    "Adaptive", "Chooser", "Fixed", "Gauge", "LinkState", "Mapped", "Option", "Policy", "Report",
]  # fmt: skip
