# SPDX-License-Identifier: Apache-2.0
"""The one table of figures: name, unit, which way is worse, and where each comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from splitc.errors import UsageError, nearest

Unit = Literal["ms", "bytes", "mJ", "share", "error", "count"]
"""Milliseconds, bytes, millijoules; `share` is a part of one whole, 0.01 for 1 %; `error` a
relative error, which has no upper end."""

Source = Literal["manifest", "verify", "bench", "simulate", "evaluate"]
"""What a bundle's manifests say, or the verb that finds it out."""

PRINTED: dict[str, tuple[Source, ...]] = {
    "compile": ("manifest", "verify"),
    "build": ("manifest",),
    "verify": ("verify",),
    "bench": ("bench",),
    "report": ("manifest", "verify", "bench"),
    "simulate": ("simulate",),
    "evaluate": ("evaluate",),
}
"""The verbs that print figures, and of which sources."""


@dataclass(frozen=True)
class Figure:
    """A number that can be told of a bundle.

    Args:
        name: As gates, baselines and reports call it.
        unit: What its values are in.
        worse: Which way is a change for the worse.
        sources: Where it comes from; from several, one by one: `head_ms` is predicted in the
            manifest and measured by bench.
        says: What it is, in a sentence.
    """

    name: str
    unit: Unit
    worse: Literal["higher", "lower"]
    sources: tuple[Source, ...]
    says: str

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that print it."""
        return tuple(v for v, printed in PRINTED.items() if {*printed} & {*self.sources})

    def text(self, value: float | None) -> str:
        """A value of it, in words."""
        if value is None:
            return "no value"
        if self.unit == "bytes":
            return f"{value:,.0f} bytes"
        if self.unit == "share":
            return f"{value:.2%}"
        if self.unit == "error":
            return f"{value:.2e}"
        return f"{value:,.0f}" if self.unit == "count" else f"{value:,.3f} {self.unit}"

    def is_worse(self, old: float, new: float) -> bool:
        """Whether it got worse."""
        return new > old if self.worse == "higher" else new < old


def _site(side: str, where: str) -> list[Figure]:
    return [
        Figure(f"{side}_ms", "ms", "higher", ("manifest", "bench"),
               f"Time of the {side} a frame: predicted for {where}, or the median that bench "
               "measures here."),
        Figure(f"{side}_load_ms", "ms", "higher", ("bench",), f"Loading the {side}."),
        Figure(f"{side}_first_ms", "ms", "higher", ("bench",), f"Its first call: the {side}'s."),
        Figure(f"{side}_bytes", "bytes", "higher", ("manifest",), f"Files of the {side}."),
        Figure(f"{side}_weight_bytes", "bytes", "higher", ("manifest",),
               f"Constants of the {side}, as its kernels read them."),
        Figure(f"{side}_memory_bytes", "bytes", "higher", ("manifest",),
               f"Memory that the {side} takes: constants, what is made of them, and what is "
               "planned for tensors between kernels."),
        Figure(f"{side}_resident_bytes", "bytes", "higher", ("bench",),
               f"What loading the {side} and its first call added to the process."),
    ]  # fmt: skip


_ALL = (
    *_site("head", "the device's board"),
    *_site("tail", "the server's board"),
    Figure("link_ms", "ms", "higher", ("manifest",), "Time on the link, as predicted."),
    Figure("total_ms", "ms", "higher", ("manifest", "bench"),
           "A frame from its inputs to its results: predicted, the link included; or measured "
           "here, without it."),
    Figure("total_p95_ms", "ms", "higher", ("bench",), "What 95 in 100 frames took less than."),
    Figure("total_p99_ms", "ms", "higher", ("bench",), "What 99 in 100 frames took less than."),
    Figure("resident_bytes", "bytes", "higher", ("bench",), "Memory of the whole process."),
    Figure("boundary_bytes", "bytes", "higher", ("manifest",), "What crosses the link a frame."),
    Figure("fallback_kernels", "count", "higher", ("manifest",),
           "Kernels with slow loops, as no rule fitted."),
    Figure("worst_error", "error", "higher", ("verify",),
           "Largest relative error of what crosses and of the results, on golden vectors."),
    Figure("codec_error", "error", "higher", ("manifest", "verify"),
           "Relative error of the results that the codec causes, root mean square, the worst."),
    Figure("agreement", "share", "lower", ("manifest", "verify"),
           "Samples whose largest result the codec leaves where it is."),
    Figure("accuracy", "share", "lower", ("manifest", "verify", "simulate", "evaluate"),
           "Labelled samples that are right: calibration's, or those that the verb was given."),
    Figure("accuracy_drop", "share", "higher", ("manifest", "verify", "evaluate"),
           "How much lower that is than the given network's, or than without loss."),
    Figure("latency_mean_ms", "ms", "higher", ("simulate",), "Mean latency of answered frames."),
    Figure("latency_p50_ms", "ms", "higher", ("simulate",), "Half of them took less."),
    Figure("latency_p95_ms", "ms", "higher", ("simulate",), "95 in 100 took less."),
    Figure("latency_p99_ms", "ms", "higher", ("simulate",), "99 in 100 took less."),
    Figure("missed_rate", "share", "higher", ("simulate",),
           "Frames that were not answered within the limit."),
    Figure("unanswered_rate", "share", "higher", ("simulate",), "Frames that never were."),
    Figure("received_share", "share", "lower", ("simulate",),
           "What the server had of the boundary, on average."),
    Figure("energy_mj", "mJ", "higher", ("simulate",), "Energy of the device a frame."),
    Figure("packets_sent", "count", "higher", ("simulate",), "Packets that the device sent."),
    Figure("packets_resent", "count", "higher", ("simulate",), "Those that it sent again."),
    Figure("packets_lost", "count", "higher", ("simulate",), "Those that the link lost."),
    Figure("queue_full_packets", "count", "higher", ("simulate",),
           "Those that came to a full queue."),
    Figure("switches", "count", "higher", ("simulate",),
           "How often a frame took another route than the one before."),
)  # fmt: skip

FIGURES: dict[str, Figure] = {one.name: one for one in _ALL}
"""Every figure by its name."""


def figure_named(name: str) -> Figure:
    """The figure of that name.

    Raises:
        UsageError: There is none; the hint has the nearest.
    """
    if name not in FIGURES:
        raise UsageError(f"there is no figure '{name}'", hint=nearest(name, FIGURES))
    return FIGURES[name]


_SIZES = {
    f"{letter}{i}{b}": (1024 if i else 1000) ** power
    for power, letters in enumerate(("", "kK", "M", "G", "T"))
    for letter in letters or ("",)
    for i in ("", "i")
    for b in ("", "B")
    if letter or not i
} | {"bytes": 1, "byte": 1}
_UNITS: dict[Unit, dict[str, float]] = {
    "ms": {"ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3},
    "bytes": {name: float(factor) for name, factor in _SIZES.items() if name},
    "mJ": {"mJ": 1.0, "J": 1e3},
    "share": {"%": 0.01},
    "error": {"%": 0.01},
    "count": {},
}
_NUMBER = re.compile(r"\s*(-?\d{1,15}(?:\.\d{0,15})?(?:[eE][-+]?\d{1,2})?)\s*([A-Za-zµ%]*)\s*")


def parse_value(text: str, unit: Unit) -> tuple[float, str]:
    """A number and its unit, like `40`, `0.2s`, `64kB`, `1%`, in a figure's own unit.

    Returns:
        The value, and the unit as it was written; "" for none: then it is the figure's.

    Raises:
        UsageError: It is no number, or of another unit.
    """
    match = _NUMBER.fullmatch(text)
    known = _UNITS[unit]
    if match is None or (match[2] and match[2] not in known):
        raise UsageError(f"'{text.strip()}' is no value in {unit}", hint=_example(unit))
    return float(match[1]) * known.get(match[2], 1.0), match[2]


def _example(unit: Unit) -> str:
    shown: dict[Unit, Sequence[str]] = {
        "ms": ("40", "40ms", "0.2s"), "bytes": ("65536", "64kB", "1.5MiB"),
        "mJ": ("3", "3mJ", "0.1J"), "share": ("1%", "0.01"), "error": ("1e-4", "1%"),
        "count": ("0", "12"),
    }  # fmt: skip
    return "write it like " + " or ".join(shown[unit])
