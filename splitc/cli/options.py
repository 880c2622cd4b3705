# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, and how their text becomes values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.errors import UsageError, nearest

if TYPE_CHECKING:
    from splitc.cost.prices import Objective
    from splitc.ir.model import Network
    from splitc.link.link import Link
    from splitc.search.limits import Constraints
    from splitc.search.scenario import Scenario

MODEL = "Model"
LINK = "Link"
WANT = "What to look for"
CODEC = "Codec"
TUNE = "Tuning"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="List every compiled kernel, and who wrote its loops."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no hints.")]
ModelPath = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="ONNX file, .pt2 of torch.export, .tuned folder, or [b]FILE.py:FUNCTION[/] that "
        "returns a module and example inputs: the file is run.",
    ),
]

Frames = Annotated[
    str,
    typer.Option(
        "--input", "-i", metavar="FILE.npy|FILE.npz|DIR",
        help="Frames: one array, arrays by input name, or a folder of such files.",
    ),
]  # fmt: skip
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME:SHAPE", rich_help_panel=MODEL,
        help="Fix an input's extents: [b]x:1x3x224x224[/]. Repeatable.",
    ),
]  # fmt: skip
Simplify = Annotated[
    bool,
    typer.Option("--simplify/--no-simplify", rich_help_panel=MODEL, help="Run onnxsim first."),
]
ToTorch = Annotated[
    bool,
    typer.Option("--to-torch", rich_help_panel=MODEL,
                 help="Convert an ONNX network to PyTorch, for codecs that ONNX cannot hold."),
]  # fmt: skip
MaxBytes = Annotated[
    str,
    typer.Option(
        "--max-bytes", envvar="SPLITC_MAX_BYTES",
        metavar="SIZE", rich_help_panel=MODEL,
        help="Refuse models with more weights, or a larger tensor.",
    ),
]  # fmt: skip
Target = Annotated[
    str,
    typer.Option("--target", "-t", metavar="BOARD", envvar="SPLITC_TARGET",
                 help="Board of the device; `splitc targets` lists them."),
]  # fmt: skip
TailTarget = Annotated[
    str,
    typer.Option("--tail-target", metavar="BOARD", envvar="SPLITC_TAIL_TARGET",
                 help="Board of the server."),
]  # fmt: skip
LinkName = Annotated[
    str | None,
    typer.Option("--link", metavar="NAME", envvar="SPLITC_LINK", rich_help_panel=LINK,
                 help="wifi (default), wifi5, lte, 3g, 5g, ethernet, lora."),
]  # fmt: skip
Bandwidth = Annotated[
    str | None,
    typer.Option("--bandwidth", metavar="RATE", envvar="SPLITC_BANDWIDTH", rich_help_panel=LINK,
                 help="Like 20Mbit or 2.5MB/s."),
]  # fmt: skip
Rtt = Annotated[
    str | None,
    typer.Option("--rtt", metavar="TIME", envvar="SPLITC_RTT", rich_help_panel=LINK,
                 help="Round-trip time, like 5ms."),
]  # fmt: skip
Loss = Annotated[
    str | None,
    typer.Option("--loss", metavar="RATE", envvar="SPLITC_LOSS", rich_help_panel=LINK,
                 help="Share of packets lost, like 2% or 0.02."),
]  # fmt: skip
Mtu = Annotated[
    int | None,
    typer.Option("--mtu", metavar="BYTES", envvar="SPLITC_MTU", rich_help_panel=LINK,
                 help="Largest packet, headers included."),
]  # fmt: skip
ObjectiveName = Annotated[
    str,
    typer.Option("--objective", metavar="NAME", envvar="SPLITC_OBJECTIVE", rich_help_panel=WANT,
                 help="latency, throughput or energy."),
]  # fmt: skip
MaxHeadMemory = Annotated[
    str | None,
    typer.Option("--max-head-memory", envvar="SPLITC_MAX_HEAD_MEMORY",
        metavar="SIZE", rich_help_panel=WANT,
                 help="Weights and live activations on the device, like 64MB."),
]  # fmt: skip
MaxHeadMs = Annotated[
    float | None,
    typer.Option("--max-head-ms", envvar="SPLITC_MAX_HEAD_MS",
        metavar="MS", rich_help_panel=WANT,
                 help="Time of the head on the device."),
]  # fmt: skip
MinDepth = Annotated[
    int,
    typer.Option("--min-depth", envvar="SPLITC_MIN_DEPTH",
        metavar="LAYERS", rich_help_panel=WANT,
                 help="Layers that must stay on the device at least."),
]  # fmt: skip
CutterText = Annotated[
    str | None,
    typer.Option(
        "--cutter", metavar="CUTTER", envvar="SPLITC_CUTTER", rich_help_panel=WANT,
        help="Who finds the cut, with options: [b]min-cut[/], [b]'enumerate(most=50000)'[/]; by "
        "default one that is exact where there is one. [b]splitc passes[/] lists them.",
    ),
]  # fmt: skip
Codec = Annotated[
    str | None,
    typer.Option(
        "--codec", metavar="PASSES", envvar="SPLITC_CODEC", rich_help_panel=CODEC,
        help="Passes to put at the cut, like [b]'insert-bottleneck(channels=8)'[/]; every cut is "
        "priced with them there. [b]splitc passes[/] lists them.",
    ),
]  # fmt: skip
Route = Annotated[
    str | None,
    typer.Option("--route", metavar="NAME", help="Of a bundle with several: which one."),
]
Calibrate = Annotated[
    str | None,
    typer.Option(
        "--calibrate", metavar="FILE.npz", envvar="SPLITC_CALIBRATE", rich_help_panel=CODEC,
        help="Sample inputs that the codec takes its ranges from: arrays by input name, "
        "samples along the first axis.",
    ),
]  # fmt: skip


Tune = Annotated[
    bool,
    typer.Option(
        "--tune", envvar="SPLITC_TUNE", rich_help_panel=TUNE,
        help="Measure other kernels than the analytic choice and use what is quicker. "
        "What was measured is kept, and not measured again.",
    ),
]  # fmt: skip
TuneSeconds = Annotated[
    float,
    typer.Option(
        "--tune-seconds", metavar="N", envvar="SPLITC_TUNE_SECONDS", rich_help_panel=TUNE,
        help="How long, head and tail together. 0: only use what was measured before.",
    ),
]  # fmt: skip
TuneRpc = Annotated[
    str,
    typer.Option(
        "--tune-rpc", metavar="HOST:PORT[,KEY]", envvar="SPLITC_TUNE_RPC", rich_help_panel=TUNE,
        help="Measure the head on a board that runs [b]python -m tvm.exec.rpc_server[/], or one "
        "that a tracker knows by KEY. TVM's RPC trusts its peer completely, without password or "
        "encryption: in a network you trust only.",
    ),
]  # fmt: skip
TuneParts = Annotated[
    str,
    typer.Option(
        "--tune-parts", metavar="head,tail", envvar="SPLITC_TUNE_PARTS", rich_help_panel=TUNE,
        help="Which parts are tuned.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class ScenarioOptions:
    """Where a network is to run, and what is wanted of the cut."""

    target: Target = "rpi4"
    tail_target: TailTarget = "host"
    link: LinkName = None
    bandwidth: Bandwidth = None
    rtt: Rtt = None
    loss: Loss = None
    mtu: Mtu = None
    objective: ObjectiveName = "latency"
    max_head_memory: MaxHeadMemory = None
    max_head_ms: MaxHeadMs = None
    min_depth: MinDepth = 0
    cutter: CutterText = None
    codec: Codec = None

    def scenario(self) -> Scenario:
        """The scenario that they say.

        Raises:
            UsageError: One of them is malformed, or names what there is not.
        """
        from splitc.search.scenario import Scenario

        return Scenario.of(
            head=self.target,
            tail=self.tail_target,
            link=parse_link(self.link, self.bandwidth, self.rtt, self.loss, self.mtu),
            objective=parse_objective(self.objective),
            constraints=parse_constraints(self.max_head_memory, self.max_head_ms, self.min_depth),
            codec=self.codec,
            cutter=self.cutter,
        )


@dataclass(frozen=True)
class ModelOptions:
    """How to read the model; `as_torch`: an ONNX network too becomes a PyTorch module."""

    path: str
    inputs: list[str] | None
    simplify: bool
    max_bytes: str
    as_torch: bool = False

    @property
    def name(self) -> str:
        """What the model is called: its file without suffix, or its function."""
        from splitc.cli.userfile import is_python

        return self.path.rpartition(":")[2] if is_python(self.path) else Path(self.path).stem

    def load(self, meanwhile: Callable[[], None] = lambda: None) -> Network:
        """Read the model. A Python file is run: it is the user's own.

        Args:
            meanwhile: See `splitc.load`.

        Raises:
            SplitcError: See `splitc.load`.
        """
        from splitc.cli.userfile import is_python, network
        from splitc.frontend import load

        if is_python(self.path):
            if self.inputs:
                hint = "let the function return example inputs of these shapes"
                raise UsageError("--input does nothing to a module", hint=hint)
            return network(self.path, parse_bytes(self.max_bytes))
        loaded = load(
            self.path,
            inputs=dict(parse_input(text) for text in self.inputs or []),
            simplify=self.simplify,
            max_bytes=parse_bytes(self.max_bytes),
            meanwhile=meanwhile,
        )
        return _to_torch(loaded) if self.as_torch else loaded


def _to_torch(loaded: Network) -> Network:
    from splitc.frontend import to_torch
    from splitc.frontend.onnx.model import OnnxModel

    return to_torch(loaded) if isinstance(loaded, OnnxModel) else loaded


def parse_input(text: str) -> tuple[str, tuple[int, ...]]:
    """`x:1x3x224x224` as name and shape; `x:scalar` has no extents.

    Raises:
        UsageError: It is malformed.
    """
    name, colon, dims = text.rpartition(":")
    if not colon or not name or not re.fullmatch(r"scalar|\d+(x\d+)*", dims):
        raise UsageError(f"'{text}' is no input shape", hint="write it like x:1x3x224x224")
    return name, () if dims == "scalar" else tuple(int(d) for d in dims.split("x"))


def parse_bytes(text: str) -> int:
    """Bytes from `64MB`, `1.5GiB`, `4096`.

    Raises:
        UsageError: It is no size, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?\s*", text)
    if match is None or len(text) > 30 or float(match[1]) <= 0:
        raise UsageError(f"'{text}' is no size", hint="write it like 64MB or 8GiB")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def parse_sizes(text: str, option: str = "--batch") -> tuple[int, ...]:
    """Batch sizes, or other whole numbers, from `1,2,4`.

    Raises:
        UsageError: They are no whole numbers.
    """
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text):
        raise UsageError(f"{option} {text}", hint="whole numbers with commas: 1,2,4,8")
    return tuple(map(int, text.split(",")))


def parse_link(
    name: str | None,
    bandwidth: str | None,
    rtt: str | None,
    loss: str | None,
    mtu: int | None,
) -> Link:
    """The named link with the given figures changed; wifi where none is named.

    Raises:
        UsageError: An unknown name or a figure out of range.
    """
    from splitc.link.link import Link

    base = Link.named(name or "wifi")
    return Link(
        base.bandwidth_bps if bandwidth is None else bandwidth,
        rtt=base.rtt_s if rtt is None else rtt,
        loss=base.loss_rate if loss is None else loss,
        mtu=base.mtu_bytes if mtu is None else mtu,
    )


def parse_objective(text: str) -> Objective:
    """The objective of that name.

    Raises:
        UsageError: There is none.
    """
    from splitc.cost.prices import OBJECTIVES

    for objective in OBJECTIVES:
        if text == objective:
            return objective
    raise UsageError(f"there is no objective '{text}'", hint=nearest(text, OBJECTIVES))


def parse_constraints(memory: str | None, milliseconds: float | None, depth: int) -> Constraints:
    """The limits a cut must keep.

    Raises:
        UsageError: A limit is malformed.
    """
    from splitc.search.limits import Constraints

    return Constraints(
        max_head_bytes=None if memory is None else parse_bytes(memory),
        max_head_s=None if milliseconds is None else milliseconds / 1e3,
        min_depth=depth,
    )
