# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: options, the machine's name, medians."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def checkout_env(folder: Path) -> dict[str, str]:
    """The environment in which `import splitc` is that of a checkout."""
    parts = [str(folder / name) for name in ("", "passes", "targets")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(parts)}


def parser(question: str) -> argparse.ArgumentParser:
    """A parser of the two options that every benchmark takes: `quick` and `json`."""
    made = argparse.ArgumentParser(
        description=question, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="fewer repeats, smaller cases")
    made.add_argument("--json", metavar="FILE", type=Path, help="write the figures as JSON too")
    return made


def arguments(question: str) -> argparse.Namespace:
    """The options of a benchmark that takes no others."""
    return parser(question).parse_args()


def some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an option that takes some of the known names, separated by commas."""
    names = list(known)

    def read(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        strange = [name for name in found if name not in names]
        if strange:
            raise argparse.ArgumentTypeError(f"no '{strange[0]}'; there are {', '.join(names)}")
        return found

    return read


def numbers(text: str) -> list[int]:
    """The type of an option that takes numbers separated by commas."""
    return [int(one) for one in text.split(",")]


def machine() -> str:
    """What it ran on, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else [])
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


def median(values: list[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def said(what: str, value: float, bar: float, unit: str = "", *, least: bool = False) -> None:
    """Print a figure beside its bar, the most that it may be, or the least."""
    met = "met" if (value >= bar if least else value <= bar) else "missed"
    print(f"  {what:46} {value:8.2f} {unit} (bar {bar:g}: {met})")


def children_peak_mb() -> float:
    """Largest resident set of any finished child process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


class Others:
    """The share of this machine's processors that others take from now on: figures' worst enemy."""

    def __init__(self) -> None:
        self._start = self._seconds()

    @staticmethod
    def _seconds() -> tuple[float, float, float]:
        """Processor seconds so far: this process and its children, anybody, all there were."""
        stat = Path("/proc/stat")
        own = os.times()
        mine = own.user + own.system + own.children_user + own.children_system
        if not stat.is_file():
            return mine, mine, 0.0
        ticks = [int(word) for word in stat.read_text("ascii").split("\n")[0].split()[1:9]]
        idle, everything = ticks[3] + ticks[4], sum(ticks)
        hertz = os.sysconf("SC_CLK_TCK")
        return mine, (everything - idle) / hertz, everything / hertz

    def share(self) -> float:
        """The share so far, the hypervisor's included; children count once they have ended."""
        mine, busy, everything = (
            now - then for now, then in zip(self._seconds(), self._start, strict=True)
        )
        return max(0.0, busy - mine) / everything if everything else 0.0


def finish(figures: dict[str, Any], target: Path | None) -> None:
    """Print the machine, and write the figures where asked."""
    print(f"on {machine()}")
    if target is not None:
        target.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n", "utf-8")
