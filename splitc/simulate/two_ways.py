# SPDX-License-Identifier: Apache-2.0
"""What a simulated link does, each way, and how it is said in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splitc.errors import UsageError
from splitc.link.link import parse_seconds
from splitc.link.link_trace import LinkTrace
from splitc.link.loss_latency import GilbertElliott
from splitc.link.loss_trace import loss_trace
from splitc.net.impairment import Impairment

_NUMBER = r"\s*([0-9.eE+-]+)\s*"


@dataclass(frozen=True)
class TwoWays:
    """A link: what happens to packets there and back.

    Args:
        up: From the device to the server.
        down: From the server to the device.
    """

    up: Impairment = field(default_factory=Impairment)
    down: Impairment = field(default_factory=Impairment)

    @staticmethod
    def of(
        model: str | LinkTrace | None = None,
        *,
        bandwidth: str | float | None = None,
        rtt: str | float = 0.0,
        jitter: str | float = 0.0,
        queue_bytes: int = 256 * 1024,
    ) -> TwoWays:
        """The same model each way, each way by itself.

        Args:
            model: How packets are lost: `iid(0.2)`; `gilbert(0.2, 6)` with the share lost and
                the mean burst; a file of 0 and 1; or a recorded link, whose bandwidth stands in
                the place of `bandwidth`. None loses nothing.
            bandwidth: Bits a second, like `20Mbit`; None is without limit.
            rtt: Round trip without any wait for the bandwidth, like `5ms`.
            jitter: Up to so much more each way, each packet by itself.
            queue_bytes: What waits at most for the bandwidth, each way.

        Raises:
            UsageError: One of them is malformed or out of its range, or there are two bandwidths.
        """
        losses = _losses(model or "")
        if "varying" in losses and bandwidth is not None:
            why = "a recorded link has its own"
            raise UsageError("there are two bandwidths", why=why, hint="leave --bandwidth out")
        one = Impairment(
            delay=parse_seconds(rtt) / 2, jitter=jitter, bandwidth=bandwidth,
            queue_bytes=queue_bytes, **losses,
        )  # fmt: skip
        return TwoWays(one, one)

    @property
    def rtt_s(self) -> float:
        """Seconds there and back of a packet that waits for nothing."""
        return self.up.delay_s + self.down.delay_s


def _losses(text: str | LinkTrace) -> dict[str, Any]:
    """What of an impairment a model of losses stands for."""
    if isinstance(text, LinkTrace):
        return {"varying": text}
    if not text:
        return {}
    if match := re.fullmatch(rf"iid\({_NUMBER}\)", text):
        return {"loss": _number(match[1], text)}
    if match := re.fullmatch(rf"gilbert\({_NUMBER},{_NUMBER}\)", text):
        return {"burst": GilbertElliott(_number(match[1], text), _number(match[2], text))}
    path = Path(text)
    if not path.is_file():
        hint = "iid(0.2), gilbert(0.2, 6), or a file: of 0 and 1, or time_s,bandwidth_mbit,loss"
        kind = "file" if "(" not in text and (path.suffix or "/" in text) else "link model"
        raise UsageError(f"there is no {kind} '{text:.80}'", hint=hint)
    if _names_bandwidth(path):
        return {"varying": LinkTrace.read(path)}
    return {"trace": loss_trace(path)}


def _names_bandwidth(path: Path) -> bool:
    """Whether a file's first line that is no comment names a column of bandwidths or times."""
    try:
        with path.open("rb") as file:
            lines = file.read(1 << 16).decode(errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the trace {path}", why=str(error)) from error
    first = next((one for one in lines if one.strip() and not one.lstrip().startswith("#")), "")
    return any(word in first for word in ("bandwidth", "time_")) and "lost" not in first


def _number(text: str, model: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"'{text}' in '{model:.80}' is no number") from error
