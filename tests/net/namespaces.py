# SPDX-License-Identifier: Apache-2.0
"""A bad network that the kernel makes: two namespaces joined by a cable, slow and lossy.

Rate and queue come from `tc ... tbf` at the sender, losses from nftables in the receiver's input
hook: in the sender's output hook the same rule makes `sendto` fail, which no network does. Delay
and jitter come from netem where the kernel has it.

What is made here is named after this process, and removed with what was left by such processes
as are no more.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

NO_NETEM = "this kernel has no netem"
_NAMED = re.compile(r"splitc-(\d+)-\d+-[ds]")
_CLONE_NEWNET = 0x4000_0000
_numbers = itertools.count()


@dataclass(frozen=True)
class Namespace:
    """One end of the cable.

    Args:
        name: Of the namespace.
        device: Its end of the cable.
        host: Its IPv4 address.
    """

    name: str
    device: str
    host: str

    @contextlib.contextmanager
    def entered(self) -> Generator[None]:
        """This thread, in the namespace: sockets that are made now stay there."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            with (Path("/run/netns") / self.name).open("rb") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def command(self, *command: str) -> list[str]:
        """A command, to be run in the namespace."""
        return ["ip", "netns", "exec", self.name, *command]


@dataclass(frozen=True)
class Cable:
    """A device and a server, and what lies between."""

    device: Namespace
    server: Namespace

    def slow(
        self, sender: Namespace, bits: float, *, burst_bytes: int = 3000, queue_ms: int = 500
    ) -> None:
        """Let an end send so many bits a second, Ethernet's 14 bytes of each packet included.

        Args:
            sender: The end.
            bits: Bits a second.
            burst_bytes: What may go at once after a pause; a packet at least.
            queue_ms: How long a packet may wait before it is lost.
        """
        _do(
            *sender.command("tc", "qdisc", "replace", "dev", sender.device, "root", "tbf"),
            "rate", f"{round(bits)}bit", "burst", f"{burst_bytes}", "latency", f"{queue_ms}ms",
        )  # fmt: skip

    def lose(self, receiver: Namespace, share: float, *, rule: str = "") -> None:
        """Let an end lose such a share of what comes to it, packet by packet at random.

        Args:
            receiver: The end.
            share: In [0, 1], in steps of 1/10,000.
            rule: Which packets, as nftables says it: `udp dport 4353`; all where empty.
        """
        rules = [f"{rule} counter"]
        if share:
            drop = f"numgen random mod 10000 < {round(share * 10_000)}"
            rules.append(f"{rule} {drop} counter drop")
        script = (
            "table inet splitc\ndelete table inet splitc\n"
            "table inet splitc {\nchain input {\ntype filter hook input priority 0;\n"
            + "\n".join(rules) + "\n}\n}\n"
        )  # fmt: skip
        _do(*receiver.command("nft", "-f", "-"), text=script)

    def counted(self, receiver: Namespace) -> tuple[int, int]:
        """Packets that came to an end since `lose`, and how many of them it lost."""
        listed = json.loads(_do(*receiver.command("nft", "-j", "list", "table", "inet", "splitc")))
        counters: list[int] = [
            each["counter"]["packets"]
            for one in listed["nftables"] if "rule" in one
            for each in one["rule"]["expr"] if "counter" in each
        ]  # fmt: skip
        return counters[0], sum(counters[1:])

    def delay(self, sender: Namespace, ms: float, jitter_ms: float = 0.0) -> None:
        """Let what an end sends take so long; the test is skipped where the kernel cannot."""
        done = _try(
            *sender.command("tc", "qdisc", "replace", "dev", sender.device, "root", "netem"),
            "delay", f"{ms}ms", f"{jitter_ms}ms",
        )  # fmt: skip
        if "kind is unknown" in done.stderr:
            pytest.skip(NO_NETEM)
        done.check_returncode()


@contextlib.contextmanager
def cable() -> Generator[Cable]:
    """Two namespaces with a cable between them; the test is skipped where there can be none."""
    why = why_not()
    if why:
        pytest.skip(why)
    _sweep()
    number = next(_numbers)
    name = f"splitc-{os.getpid()}-{number}"
    made = Cable(
        Namespace(f"{name}-d", "to-server", "10.77.0.1"),
        Namespace(f"{name}-s", "to-device", "10.77.0.2"),
    )
    ends = (made.device, made.server)
    try:
        for end in ends:
            _do("ip", "netns", "add", end.name)
        _do(
            *("ip", "link", "add", "name", ends[0].device, "netns", ends[0].name, "type", "veth"),
            *("peer", "name", ends[1].device, "netns", ends[1].name),
        )
        for end in ends:
            inside = ("ip", "-n", end.name)
            _do(*inside, "address", "add", f"{end.host}/24", "dev", end.device)
            _do(*inside, "link", "set", "lo", "up")
            # Otherwise TCP's segments would pass as one, and be lost as one.
            _do(*inside, "link", "set", "dev", end.device, "up", "gso_max_segs", "1")
        yield made
    finally:
        for end in ends:
            _remove(end.name)


def why_not() -> str:
    """Why there can be no cable here; empty where there can."""
    for program, package in (("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            return f"{program} is not installed ({package})"
    if os.geteuid() != 0:
        return "network namespaces are for root"
    name = f"splitc-{os.getpid()}-{next(_numbers)}-d"
    done = _try("ip", "netns", "add", name)
    _remove(name)
    return f"no network namespace can be made: {done.stderr.strip()}" if done.returncode else ""


def _sweep() -> None:
    """Remove what tests left behind that were killed."""
    for line in _do("ip", "netns", "list").splitlines():
        match = _NAMED.match(line)
        if match and not Path("/proc", match[1]).exists():
            _remove(match[0])


def _remove(name: str) -> None:
    for process in _try("ip", "netns", "pids", name).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), 9)
    _try("ip", "netns", "del", name)


def _enter(number: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(number, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _try(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=30
    )


def _do(*command: str, text: str | None = None) -> str:
    done = _try(*command, text=text)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
