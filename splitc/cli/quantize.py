# SPDX-License-Identifier: Apache-2.0
"""`splitc quantize`: a network of floats as one on bytes, and what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.quantization import Quantized


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file in floats.")],
    calibrate: Annotated[
        str,
        typer.Option("--calibrate", metavar="FILE.npz", envvar="SPLITC_CALIBRATE",
                     help="Sample inputs that ranges are taken from: arrays by input name, samples "
                     "along the first axis, and [b]labels[/] where they are known."),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE.onnx",
                     help="File to write; MODEL.int8.onnx otherwise."),
    ] = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="minmax|entropy|percentile",
                     help="How ranges are taken from what the samples give."),
    ] = "minmax",
    per_tensor: Annotated[
        bool,
        typer.Option("--per-tensor", help="One scale for a layer's weights, not one a channel."),
    ] = False,
    keep: Annotated[
        str, typer.Option("--keep", metavar="LAYER,LAYER", help="Layers that stay in floats.")
    ] = "",
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Write MODEL with convolutions and products on bytes, and say what that costs."""
    from splitc.build.options import parse_bytes
    from splitc.cli import show
    from splitc.passes.calibration import read_batches, read_labels
    from splitc.quantization import quantize as run

    limit = parse_bytes(max_bytes)
    with show.progress(quiet) as step:
        step("reading")
        network = o.ModelOptions(model, inputs, simplify, max_bytes).load()
        samples = read_batches(calibrate, network.graph.inputs, max_bytes=limit)
        labels = read_labels(calibrate, network.graph.inputs, len(samples), max_bytes=limit)
        step("taking ranges, and comparing")
        made = run(
            network, samples, labels, method=method, per_channel=not per_tensor,
            keep=[name.strip() for name in keep.split(",") if name.strip()],
        )  # fmt: skip
    path = Path(output or f"{Path(model).stem}.int8.onnx")
    _write(path, made)
    if json:
        from splitc.cli.quantize_object import QuantizeObject

        show.print_json(QuantizeObject.of(str(path), made))
        return
    _print(path, Path(model), made, quiet=quiet)


def _write(path: Path, made: Quantized) -> None:
    from splitc.errors import OutputError

    try:
        made.model.save(path)
    except OSError as error:
        hint = "choose another -o"
        raise OutputError(f"cannot write '{path}'", why=error.strerror or "", hint=hint) from error


def _print(path: Path, source: Path, made: Quantized, *, quiet: bool) -> None:
    from splitc.bundle.codec_cost import quantized_in_words
    from splitc.cli import show
    from splitc.reporting.words import short_bytes

    console = show.out()
    size = f"{short_bytes(path.stat().st_size)}; {source.name} {short_bytes(source.stat().st_size)}"
    console.print(show.plain(f"wrote {path}  {size}"), soft_wrap=True)
    for line in quantized_in_words(made.entry):
        console.print(show.plain(line), soft_wrap=True)
    if not quiet:
        show.next_line(f"splitc compile {path}")
