# SPDX-License-Identifier: Apache-2.0
"""The flags of a compilation: those of `splitc compile`, and of `splitc build` for one bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from splitc.build.options import CompileOptions
from splitc.cli import options as o


@dataclass(frozen=True)
class CompileFlags(o.ScenarioOptions):
    """A flag for each field of `CompileOptions` but the model, of the same name."""

    cut: Annotated[
        str,
        typer.Option(
            "--cut",
            "-c",
            metavar="auto|LAYER[,LAYER…]|N",
            envvar="SPLITC_CUT",
            help="Where to cut: the head's last layers, by their names, the ends of "
            "those or their modules; or a row's number in the table of cuts. Or no cut: "
            "device or server, all of it there; or best, the best of these and auto.",
        ),
    ] = "auto"
    cuts: Annotated[
        str | None,
        typer.Option(
            "--cuts",
            metavar="CUT,CUT,…",
            envvar="SPLITC_CUTS",
            help="Several nested cuts, [b]+[/] between the layers of one: the bundle "
            "has a route for each, and what lies between them once a side.",
        ),
    ] = None
    bits: Annotated[
        str | None,
        typer.Option(
            "--bits",
            metavar="N,N,…",
            envvar="SPLITC_BITS",
            help="At each cut, routes too that send so many bits, like [b]8,4[/].",
        ),
    ] = None
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan", metavar="FILE.json", help="The routes of a plan that [b]splitc plan[/] wrote."
        ),
    ] = None
    only_if_it_pays: Annotated[
        bool,
        typer.Option(
            "--only-if-it-pays",
            help="Fail, with exit code 5, where a split is predicted to be no better than all on "
            "the device or all on the server, sent bytes or JPEG where that fits; of these two, "
            "where something else is.",
        ),
    ] = False
    calibrate: o.Calibrate = None
    max_drop: o.MaxDrop = None
    emit: Annotated[
        str,
        typer.Option(
            "--emit",
            metavar="BACKEND[,BACKEND]",
            help="Compiled code ([b]tvm[/]), ONNX files ([b]onnx[/]), or another "
            "backend's; two with a comma between for head and tail.",
        ),
    ] = "tvm"
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="float32|tf32|float16|bf16|int8",
            envvar="SPLITC_PRECISION",
            help="What is multiplied in, sums in float32: [b]tf32[/] and [b]float16[/] are for "
            "graphics processors' tensor cores, [b]bf16[/] for processors with AVX-512 BF16. "
            "[b]int8[/] quantises the network first, by the samples of [b]--calibrate[/].",
        ),
    ] = "float32"
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            metavar="bundle|none",
            help="Put what runs a part into it, or leave it out.",
        ),
    ] = "bundle"
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Run the compiled parts on golden vectors before the bundle is there.",
        ),
    ] = True
    twin: Annotated[
        bool,
        typer.Option(
            "--twin/--no-twin",
            help="Keep builds for this machine of parts that it cannot run, for "
            "[b]verify[/], [b]run[/] and [b]bench[/] here.",
        ),
    ] = True
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="N,N,…",
            envvar="SPLITC_BATCH",
            help="Compile the tail for so many frames a call too, like [b]1,2,4,8[/]: "
            "a server runs frames that wait together.",
        ),
    ] = None
    with_whole: Annotated[
        bool,
        typer.Option(
            "--with-whole",
            help="Compile the whole network for the device too, for when the server is silent.",
        ),
    ] = False
    seed: Annotated[int, typer.Option("--seed", help="Of the golden inputs.")] = 0
    tune: o.Tune = False
    tune_seconds: o.TuneSeconds = 300.0
    tune_rpc: o.TuneRpc = ""
    tune_parts: o.TuneParts = "head,tail"
    input: o.Inputs = None
    simplify: o.Simplify = True
    preprocess: o.Preprocess = None
    to_torch: o.ToTorch = False
    max_bytes: o.MaxBytes = "8GiB"

    def options(self, model: str) -> CompileOptions:
        """What they say of a model."""
        given: dict[str, Any] = asdict(self)
        for several in ("input", "pin", "preprocess"):
            given[several] = tuple(given[several] or ())
        return CompileOptions(model=model, **given)
