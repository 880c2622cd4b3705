# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, and how their text becomes values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitc.build.option_text import parse_bytes, parse_link, parse_sizes
from splitc.build.options import ModelOptions, ScenarioText

if TYPE_CHECKING:
    from splitc.search.scenario import Scenario

MODEL = "Model"
LINK = "Link"
WANT = "What to look for"
CODEC = "Codec"
TUNE = "Tuning"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="List every compiled kernel: its layers, its time as predicted, who wrote its loops.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="cuda|opencl[:N]", envvar="SPLITC_DEVICE",
        help="Which of this machine's graphics processors parts for one take, from 0.",
    ),
]  # fmt: skip
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
        "--input", "-i", metavar="FILE.npy|FILE.npz|IMAGE|DIR",
        help="Frames: one array, arrays by input name, a JPEG or PNG for networks that read bytes, "
        "or a folder of such files.",
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
Preprocess = Annotated[
    list[str] | None,
    typer.Option(
        "--preprocess", metavar="WORDS", rich_help_panel=MODEL,
        help="Let the network read frames as a camera gives them: [b]'uint8 nhwc scale=1/255 "
        "mean=0.485,0.456,0.406 std=0.229,0.224,0.225'[/], also [b]bgr[/] and [b]size=480x640[/]. "
        "Of several inputs, NAME: in front.",
    ),
]  # fmt: skip
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
ProfileFile = Annotated[
    str | None,
    typer.Option("--profile", metavar="FILE", envvar="SPLITC_PROFILE",
                 help="Times of the layers on the device, in the place of its board's: "
                 "what [b]splitc profile[/], [b]splitc fit[/] or onnxruntime's profiler wrote, or "
                 "a CSV table."),
]  # fmt: skip
TailProfile = Annotated[
    str | None,
    typer.Option("--tail-profile", metavar="FILE", envvar="SPLITC_TAIL_PROFILE",
                 help="The same for the server."),
]  # fmt: skip
MeasuredFile = Annotated[
    str | None,
    typer.Option("--measured", metavar="FILE", envvar="SPLITC_MEASURED",
                 help="Your own times of both sides in one file: CSV with the columns "
                 "[b]layer,device_ms,server_ms[/], or what [b]--profile[/] takes."),
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
MaxBoundaryBytes = Annotated[
    str | None,
    typer.Option("--max-boundary-bytes", envvar="SPLITC_MAX_BOUNDARY_BYTES",
        metavar="SIZE", rich_help_panel=WANT,
                 help="What may cross the link of one frame, like 64kB."),
]  # fmt: skip
Pin = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="LAYER=head|tail", rich_help_panel=WANT,
                 help="A layer, or a module's layers, that has to run there. Repeatable."),
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
ResultsSide = Annotated[
    str,
    typer.Option("--results", metavar="device|server", envvar="SPLITC_RESULTS",
                 rich_help_panel=WANT,
                 help="Where results are wanted: at the device, which they are sent back to, or "
                 "at the server."),
]  # fmt: skip
ServerInputWay = Annotated[
    str,
    typer.Option("--server-input", metavar="auto|tensor|uint8|jpeg", envvar="SPLITC_SERVER_INPUT",
                 rich_help_panel=WANT,
                 help="How a frame would be sent to a server that runs all of it, which a split "
                 "has to beat: as the network reads it, as bytes, as JPEG; [b]auto[/] is each of "
                 "these where the input looks like an image."),
]  # fmt: skip
Codec = Annotated[
    str | None,
    typer.Option(
        "--codec", metavar="PASSES", envvar="SPLITC_CODEC", rich_help_panel=CODEC,
        help="Passes to put at the cut, like [b]'insert-bottleneck(channels=8)'[/]; every cut is "
        "priced with them there. [b]splitc passes[/] lists them. [b]auto[/] is the best without "
        "training that [b]--calibrate[/]'s samples show to cost little.",
    ),
]  # fmt: skip
MaxDrop = Annotated[
    str | None,
    typer.Option(
        "--max-drop", metavar="SHARE", envvar="SPLITC_MAX_DROP", rich_help_panel=CODEC,
        help="Of [b]--codec auto[/]: how many samples may get another arg-max than without a codec "
        "\\[1%]; where there are no classes, how large the relative error may be.",
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
        help="Sample inputs that the codec takes its ranges from, and a JPEG its size: arrays by "
        "input name, samples along the first axis.",
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
    profile: ProfileFile = None
    tail_profile: TailProfile = None
    measured: MeasuredFile = None
    link: LinkName = None
    bandwidth: Bandwidth = None
    rtt: Rtt = None
    loss: Loss = None
    mtu: Mtu = None
    objective: ObjectiveName = "latency"
    max_head_memory: MaxHeadMemory = None
    max_head_ms: MaxHeadMs = None
    max_boundary_bytes: MaxBoundaryBytes = None
    min_depth: MinDepth = 0
    pin: Pin = None
    cutter: CutterText = None
    codec: Codec = None
    results: ResultsSide = "device"
    server_input: ServerInputWay = "auto"

    def scenario(self) -> Scenario:
        """The scenario that they say.

        Raises:
            UsageError: One of them is malformed, or names what there is not.
        """
        given: dict[str, Any] = asdict(self)
        given["pin"] = tuple(self.pin or ())
        return ScenarioText(**given).scenario()


__all__ = [  # what verbs read, besides the options above
    "ModelOptions", "ScenarioOptions", "parse_bytes", "parse_link", "parse_sizes",
]  # fmt: skip


def use_device(device: str | None) -> None:
    """Have the parts that this process loads take that graphics processor.

    Raises:
        UsageError: It is no name of one.
    """
    from splitc.runtime.devices import choose_device

    if device is not None:
        choose_device(device)
