# SPDX-License-Identifier: Apache-2.0
"""A network of this machine's own whose receivers lose packets: for benchmarks of the wire."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from common import ROOT, checkout_env

_CHAIN = "inet link arriving"
_MADE = """set -e
ip link set lo mtu 1500 gso_max_segs 1 up
nft add table inet link
nft add chain inet link arriving '{ type filter hook input priority 0; }'
exec "$@"
"""
"""Packets on the loopback are those of an Ethernet, one by one, for TCP too."""


def run_inside(command: Sequence[str]) -> None:
    """Run a command in a network namespace that holds a loopback and nothing else.

    Raises:
        SystemExit: Namespaces are not allowed here, or the command fails.
    """
    user = ["--user", "--map-root-user"] if os.getuid() else []
    made = ["unshare", *user, "--net", "sh", "-c", _MADE, "inside", *command]
    if subprocess.run(made, env=checkout_env(ROOT), check=False).returncode:
        raise SystemExit("failed inside the network namespace (it takes unshare, ip and nft)")


def lose(percent: float, which: str = "") -> None:
    """Have the kernel drop that share of what arrives, each packet by itself.

    Args:
        percent: The share, in steps of 0.1.
        which: Packets that it is of, as nftables says it: `udp dport 4353`; all where empty.
    """
    rules = [f"flush chain {_CHAIN}"]
    if percent:
        drop = f"numgen random mod 1000 < {round(10 * percent)} drop"
        rules.append(f"add rule {_CHAIN} {which} {drop}")
    subprocess.run(["nft", "; ".join(rules)], check=True)
