# SPDX-License-Identifier: Apache-2.0
"""`splitc inspect`: what is in a model or a bundle. Of a bundle no code is loaded."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.ir.model import Network
    from splitc.runtime.manifest import Route


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|BUNDLE", help="ONNX or .pt2 file, FILE.py:FUNCTION, or bundle."
        ),
    ],
    text: Annotated[
        bool, typer.Option("--text", help="Print the layer graph in its canonical text.")
    ] = False,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    preprocess: o.Preprocess = None,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show layers, blocks, shapes, FLOPs and weights of a MODEL, or a BUNDLE's manifest."""
    from splitc.finetune.manifest import is_tuned

    if Path(what).is_dir() and not is_tuned(what):
        _bundle(what, json=json)
        return
    model = o.ModelOptions(what, inputs, simplify, max_bytes, preprocess=preprocess).load()
    if text:
        print(model.graph, end="")
    elif json:
        _model_json(model)
    else:
        _model_table(model, quiet=quiet)


def _grouped(model: Network) -> Network:
    from splitc.passes.base import make_pass

    return make_pass("group-blocks", {})(model)


def _model_json(model: Network) -> None:
    import msgspec

    from splitc.cli import show
    from splitc.cli.listings import LayerObject, ModelObject, Totals
    from splitc.cli.objects import TensorObject

    graph = _grouped(model).graph
    show.print_json(
        ModelObject(
            **msgspec.structs.asdict(Totals.of(graph)),
            sha256=model.digest,
            note=model.note,
            inputs=tuple(map(TensorObject.of, model.graph.inputs)),
            outputs=tuple(map(TensorObject.of, model.graph.output_tensors)),
            graph=tuple(map(LayerObject.of, graph.layers)),
        )
    )


def _model_table(model: Network, *, quiet: bool) -> None:
    from rich.table import Table

    from splitc.cli import show
    from splitc.cli.listings import Totals

    grouped = _grouped(model)
    view = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    view.add_column("block", justify="right")
    view.add_column("layer", overflow="ellipsis", no_wrap=True, ratio=1)
    view.add_column("op", no_wrap=True)
    view.add_column("makes", no_wrap=True)
    view.add_column("weights", justify="right", no_wrap=True)
    view.add_column("MFLOP", justify="right", no_wrap=True)
    for layer in grouped.graph.layers:
        first = layer.outputs[0]
        shape = "x".join("?" if d is None else str(d) for d in first.shape or ()) or "scalar"
        more = f" +{len(layer.outputs) - 1}" if len(layer.outputs) > 1 else ""
        view.add_row(
            str(layer.block), show.plain(layer.name), show.plain(layer.op), shape + more,
            show.short_bytes(layer.param_bytes) if layer.param_bytes else "",
            f"{layer.flops / 1e6:,.1f}" if layer.flops else "",
        )  # fmt: skip
    console = show.out()
    console.print(view)
    totals = Totals.of(grouped.graph)
    console.print(
        f"{totals.layers} layers in {totals.blocks} blocks, "
        f"{totals.flops / 1e9:.3f} GFLOP, {show.short_bytes(totals.param_bytes)} of weights",
        style="bold",
    )
    if model.note and not quiet:
        show.err().print(f"note: {model.note}", markup=False)


def _bundle(path: str, *, json: bool) -> None:
    from splitc.bundle.bundle import Bundle
    from splitc.cli import show

    bundle = Bundle.open(path)
    parts = {name: bundle.part(name) for name in bundle.manifest.parts}
    if json:
        from splitc.cli.listings import BundleObject

        show.print_json(BundleObject(digest=bundle.digest, manifest=bundle.manifest, parts=parts))
        return
    console = show.out()
    manifest = bundle.manifest
    route = manifest.route
    several = len(manifest.routes) > 1
    title = f"{len(manifest.routes)} routes" if several else manifest.where(route)
    lines = [
        f"{manifest.name}, {title}",
        f"  digest   sha256 {bundle.digest}",
        f"  source   sha256 {manifest.source.sha256}",
        f"  split    {manifest.split}",
        *([] if several else _route_lines(route)),
        *(f"  {line}" for line in show.quantized_lines(manifest)),
    ]
    wide = max(8, *map(len, parts))
    for name, part in parts.items():
        size = show.short_bytes(sum(entry.bytes for entry in part.files.values()))
        cpu = "".join([part.cpu, *part.features])
        batch = manifest.parts[name].batch
        many = f", {batch} frames a call" if batch > 1 else ""
        lines.append(
            f"  {name:<{wide}} {part.target}: {part.isa} {cpu}, glibc {part.glibc}+, {size}{many}"
        )
    tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    lines += wrap(tools, 80, initial_indent="  tools    ", subsequent_indent=" " * 11)
    for line in lines:
        console.print(show.plain(line))
    if several:
        console.print()
        console.print(show.route_table(manifest))
        for one in manifest.routes:
            ways = (f"{site} {', '.join(names)}" for site, names in one.runs.items())
            console.print(show.plain(f"{one.name}: {'; '.join(ways)}"))


def _route_lines(route: Route) -> list[str]:
    """The one route of a bundle with one cut."""
    from splitc.cli import show

    took = [f"{site} {ms} ms" for site, ms in route.predicted.site_ms.items()]
    lines = [
        f"  predicted {', '.join(took)}, link {route.predicted.link_ms} ms",
        f"  found by {show.proved(route.proof)}",
    ]
    for spec in route.crosses:
        shape = "x".join("?" if n is None else str(n) for n in spec.shape) or "scalar"
        size = show.short_bytes(spec.bytes)
        lines.append(f"  crosses  {spec.name}  {shape} {spec.dtype}  {size}")
    if route.codec is not None:
        over = ", ".join(f"{one.op}({one.settings})" for one in route.codec.channels)
        trained = f", trained over {over}" if over else ""
        lines.append(f"  codec    {route.codec.pipeline or 'its own'}{trained}")
    return lines
