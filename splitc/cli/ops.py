# SPDX-License-Identifier: Apache-2.0
"""`splitc ops`: which operators a model has, and which cannot be compiled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.ir.model import Network


def ops(
    model: o.ModelPath,
    inputs: o.Inputs = None,
    simplify: o.Simplify = True,
    preprocess: o.Preprocess = None,
    max_bytes: o.MaxBytes = "8GiB",
    emit: Annotated[
        str, typer.Option("--emit", metavar="BACKEND", help="Who would compile it: tvm, or onnx.")
    ] = "tvm",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List MODEL's operators; name those that cannot be compiled, exit status 4 if any."""
    from splitc.build.refusals import elsewhere
    from splitc.cli import show
    from splitc.plugins import find

    loaded = o.ModelOptions(model, inputs, simplify, max_bytes, preprocess=preprocess).load()
    count = _count(loaded)
    missing = find("backends", emit)().unsupported(loaded)
    if json:
        from splitc.cli.listings import OpsObject
        from splitc.cli.objects import MissingObject

        refused = tuple(map(MissingObject.of, missing))
        ops = dict(sorted(count.items()))
        show.print_json(OpsObject(ops=ops, unsupported=refused, compiles=not missing))
        if missing:
            raise typer.Exit(4)
        return
    from rich.table import Table

    refused = Counter(u.op for u in missing)
    view = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    view.add_column("operator")
    view.add_column("layers", justify="right")
    view.add_column("")
    for op, number in sorted(count.items(), key=lambda item: (-item[1], item[0])):
        view.add_row(show.plain(op), str(number), "not supported" if refused[op] else "")
    console = show.out()
    console.print(view)
    for one in missing:
        console.print(show.plain(f"not supported: layer '{one.layer}' ({one.op}): {one.why}"))
    if missing and not quiet:
        console.print(f"{elsewhere(loaded)}.", style="dim")
    if missing:
        raise typer.Exit(4)


def _count(model: Network) -> Counter[str]:
    """How often each operator stands in the file; for a module, in the layers."""
    from splitc.frontend.onnx.model import OnnxModel

    if isinstance(model, OnnxModel):
        return Counter(node.op_type for node in model.proto.graph.node)
    return Counter(layer.op for layer in model.graph.layers if not layer.is_input)
