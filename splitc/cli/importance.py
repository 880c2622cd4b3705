# SPDX-License-Identifier: Apache-2.0
"""`splitc importance`: Grad-CAM of every layer on your data, for the cutter `i-split`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from splitc.cli import options as o
from splitc.cli.objects import Printed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitc.evaluate.samples import Samples
    from splitc.frontend.torch.model import TorchModel
    from splitc.ir.graph import LayerGraph
    from splitc.reporting.scale import Scale
    from splitc.search.importance import Importance

_ROWS = 16
_BAR = 24
_FAR = 100


class LayerImportanceObject(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that no edge passes by: its importance, and whether it is a local maximum."""

    cut: str
    importance: float
    peak: bool


class ImportanceObject(Printed, frozen=True):
    """`splitc importance`: the file that was written, and the cuts in their order."""

    file: str
    network: str
    samples: int
    cuts: tuple[LayerImportanceObject, ...]

    @staticmethod
    def of(file: str, measured: Importance, graph: LayerGraph) -> ImportanceObject:
        """What the verb prints."""
        return ImportanceObject(
            file=file, network=measured.network, samples=measured.samples,
            cuts=tuple(
                LayerImportanceObject(cut=row.name, importance=row.value, peak=row.peak)
                for row in _rows(measured, graph)
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class _Row:
    name: str
    op: str
    value: float
    peak: bool


def importance(
    model: o.ModelPath,
    data: Annotated[
        str,
        typer.Option("--data", "-d", metavar="FILE.py:FUNCTION|FILE.npz",
                     help="The function that finetune takes, whose second value is used, or arrays "
                     "by input name, and labels."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="File to write.")
    ] = "importance.json",
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, help="At most so many.")
    ] = 100,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE.svg|png", help="Draw it (splitc\\[plot])."),
    ] = None,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure on your data which layers of MODEL have to do with the right answer."""
    from splitc.cli import show
    from splitc.pictures import check_plot
    from splitc.search.importance import write_importance

    if plot is not None:
        check_plot(Path(plot))
    source = o.ModelOptions(model, inputs, simplify, max_bytes, as_torch=True)
    with show.progress(quiet) as step:
        step("reading")
        network = _as_torch(source.load())
        step("reading samples")
        from splitc.evaluate import importance as measure

        given = _samples(data, network, samples)
        measured = measure(network, given, network=source.name, told=step)
    write_importance(output, measured)
    if plot is not None:
        _draw(plot, measured, network.graph)
    if json:
        show.print_json(ImportanceObject.of(output, measured, network.graph))
        return
    _print(measured, network.graph)
    if not quiet:
        hint = f"splitc cuts {model} --cutter 'i-split(importance=\"{output}\")'"
        show.next_line(hint)


def _as_torch(loaded: Any) -> TorchModel:
    """The network as PyTorch has it.

    Raises:
        UsageError: It cannot be.
    """
    from splitc.errors import UsageError
    from splitc.frontend.torch.model import TorchModel

    if not isinstance(loaded, TorchModel):
        raise UsageError("gradients are had of networks in PyTorch", why="this one is none")
    return loaded


def _samples(data: str, network: TorchModel, most: int) -> Samples:
    from splitc.evaluate import read_samples, samples_of
    from splitc.frontend.userfile import call, is_python, two
    from splitc.runtime.manifest import TensorSpec

    specs = tuple(map(TensorSpec.of, network.graph.inputs))
    if not is_python(data):
        return read_samples(data, specs, most=most)
    _, validate = two(call(data, "--data"), "--data", "(train, validate)")
    return samples_of(validate, specs, most=most)


def _rows(measured: Importance, graph: LayerGraph) -> list[_Row]:
    """Every cut after a layer that no edge passes by whose importance is known, in order."""
    from splitc.search.enumerate import single_cuts

    peaks = set(measured.peaks(graph))
    known = ((cut, measured.of(cut)) for cut in single_cuts(graph))
    return [
        _Row(cut.name, graph.layer(cut.name).op, value, cut in peaks)
        for cut, value in known
        if value is not None
    ]


def _scale(rows: Sequence[_Row]) -> Scale:
    """From nothing, or by ratios where values are far apart: behind a pooling they jump."""
    from splitc.reporting.scale import Scale

    values = [row.value for row in rows if row.value > 0]
    far = bool(values) and max(values) > _FAR * min(values)
    return Scale.around(values, log=far)


def _print(measured: Importance, graph: LayerGraph) -> None:
    """The cuts with bars, or of many the peaks alone."""
    from rich.table import Table

    from splitc.cli import show

    console = show.out()
    rows = _rows(measured, graph)
    shown = rows if len(rows) <= _ROWS else [row for row in rows if row.peak]
    scale = _scale(rows)
    view = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    view.add_column("", width=1)
    view.add_column("cut after", no_wrap=True, overflow="ellipsis", max_width=30)
    view.add_column("op", no_wrap=True, overflow="ellipsis", max_width=12)
    view.add_column("importance", justify="right", no_wrap=True)
    view.add_column("", no_wrap=True)
    for row in shown:
        view.add_row(
            "▸" if row.peak else "", show.plain(row.name), row.op, f"{row.value:.3g}",
            "█" * round(_BAR * scale.share(row.value)), style="bold" if row.peak else "",
        )  # fmt: skip
    console.print(view)
    peaks = sum(row.peak for row in rows)
    left = "" if len(shown) == len(rows) else f", of {len(rows)} cuts that were measured"
    console.print(f"▸ {peaks} local maxima{left}, on {measured.samples} samples.", style="dim")


def _draw(path: str, measured: Importance, graph: LayerGraph) -> None:
    from splitc.pictures import draw

    rows = _rows(measured, graph)
    places = range(1, len(rows) + 1)

    def body(figure: Any) -> None:
        axes: Any = figure.subplots()
        axes.plot(places, [row.value for row in rows], color="#1f77b4", linewidth=1.4)
        peaks = [(place, row) for place, row in zip(places, rows, strict=True) if row.peak]
        axes.scatter([p for p, _ in peaks], [row.value for _, row in peaks], s=30,
                     color="#d95f02", zorder=3, label="local maximum")  # fmt: skip
        for place, row in peaks if len(peaks) <= _ROWS else ():
            axes.annotate(row.name, (place, row.value), textcoords="offset points", xytext=(4, 5),
                          fontsize=7)  # fmt: skip
        axes.set(xlabel="cut, by depth", ylabel="importance")
        scale = _scale(rows)
        axes.set_yscale("log" if scale.log else "linear")
        axes.set_ylim(scale.least, scale.most)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)

    draw(path, f"{measured.network}: importance on {measured.samples} samples", body)
