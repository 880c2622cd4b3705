# SPDX-License-Identifier: Apache-2.0
"""What the verbs print: tables for people, objects for programs."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from splitc.cli import was_interrupted
from splitc.cost.cost_file import not_measured
from splitc.errors import printable
from splitc.ir.proof import Enumerated, FlowProof, Heuristic, Proof
from splitc.reporting.words import short_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from splitc.build.backend import Built, Kernel
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.verify import Verification
    from splitc.runtime.codec_entry import CodecEntry
    from splitc.runtime.manifest import Manifest
    from splitc.search.table import CutTable

_WIDTH = 80
_WIDEST = 10_000
_MUCH = 0.25
"""Of a cut's time that results take before a line says so."""


def out() -> Console:
    """Standard output, as wide as the terminal.

    In a pipe tables are as wide as COLUMNS says, or 80, and lines are never broken.
    """
    if sys.stdout.isatty():
        return Console(markup=False, highlight=False)
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and 0 < int(columns) <= _WIDEST else _WIDTH
    return Console(markup=False, highlight=False, width=width, soft_wrap=True)


def err() -> Console:
    """Standard error, for progress and hints."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_json(value: msgspec.Struct) -> None:
    """One object on standard output, its schema first; a figure that is no number is null."""
    print(as_json(value))


def as_json(value: msgspec.Struct) -> str:
    """One object as JSON, its schema first; a figure that is no number is null."""
    fields = msgspec.to_builtins(value)
    return _dumped({"schema": fields.pop("schema"), **fields})


def print_plain(value: Any) -> None:
    """A value as JSON on standard output; a figure that is no number is null."""
    print(_dumped(value))


def _dumped(value: Any) -> str:
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_finite(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def plain(text: str) -> Text:
    """Text out of a model or a bundle, which may hold what a terminal would obey."""
    return Text(printable(text))


def next_line(command: str) -> None:
    """What to do next, behind an empty line: a command, which may name a user's files."""
    console = out()
    console.print()
    console.print(plain(f"Next: {command}"), soft_wrap=True)


@contextmanager
def progress(quiet: bool) -> Generator[Callable[[str], None], None, None]:
    """A function to call as each step begins: a spinner on a TTY, lines elsewhere.

    It stops the program where Ctrl-C was pressed during the step before.
    """
    console = err()

    def begin(step: str, tell: Callable[[str], None]) -> None:
        if was_interrupted():
            raise KeyboardInterrupt
        tell(step)

    if quiet:
        yield lambda step: begin(step, lambda _: None)
    elif console.is_terminal:
        with console.status("starting") as status:
            yield lambda step: begin(step, status.update)
    else:
        yield lambda step: begin(step, lambda text: console.print(f"splitc: {text}"))


def milliseconds(seconds: float) -> str:
    """Milliseconds with one decimal."""
    return f"{seconds * 1e3:,.1f}"


def kernel_table(built: Built) -> Table:
    """The functions that one inference of a part calls, heaviest first, slow ones marked."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("layers", no_wrap=True, overflow="ellipsis", max_width=_LAYERS_WIDTH)
    table.add_column("rule")
    for name in ("calls", "ms", "share"):
        table.add_column(name, justify="right")
    table.add_column("computes", overflow="fold")
    table.add_column("tuned" if any(kernel.tuned for kernel in built.kernels) else "")
    total = sum(kernel.predicted_ms for kernel in built.kernels)
    digits = decimals(total)
    for kernel in sorted(built.kernels, key=lambda k: (-k.predicted_ms, -k.flops * k.calls)):
        slow = "red" if kernel.fell_back else ""
        once = kernel.predicted_ms == 0.0
        table.add_row(
            plain(layers_of(kernel)), plain(kernel.rule), str(kernel.calls),
            "" if once else f"{kernel.predicted_ms:,.{digits}f}",
            "" if once else f"{kernel.predicted_ms / total:.1%}",
            plain(f"{_spaced(kernel.op)}  {kernel.shapes}"), plain(kernel.tuned), style=slow,
        )  # fmt: skip
    weights = f"{short_bytes(built.weight_bytes)} of weights"
    memory = f"{short_bytes(built.activation_bytes)} for tensors between kernels"
    if built.device_bytes:
        memory = f"{short_bytes(built.device_bytes)} of the GPU's memory, {weights} among it"
    elif built.weight_bytes:
        memory += f", {weights}"
    table.caption = f"{total:,.{digits}f} ms predicted; {memory}"
    table.caption_justify = "left"
    return table


def _spaced(op: str) -> str:
    """What a kernel computes, so that a narrow column breaks it between operations."""
    return op.replace("+", " + ")


def decimals(total_ms: float) -> int:
    """Decimals of milliseconds that show a thousandth of a whole."""
    return max(1, min(7, 3 - math.floor(math.log10(total_ms)))) if total_ms > 0 else 1


_LAYERS_WIDTH = 20


def layers_of(kernel: Kernel) -> str:
    """The layers that a kernel computes, short: `conv1..relu1`, or `conv1 +3`."""
    return layer_run(kernel.layers, _LAYERS_WIDTH, together=kernel.calls == 1)


def layer_run(layers: Sequence[str], width: int, *, together: bool = True) -> str:
    """Names of layers in so many columns: from first to last where one call computes them all."""
    if len(layers) < 2:
        return "".join(layers)
    run = f"{layers[0]}..{layers[-1]}"
    if together and len(run) <= width:
        return run
    first, more = layers[0], f" +{len(layers) - 1}"
    return (first if len(first + more) <= width else first[: width - len(more) - 1] + "…") + more


def proved(proof: Proof) -> str:
    """Why a cut is the best, or how far it may be off, in a clause."""
    if isinstance(proof, FlowProof):
        return f"{proof.cutter}: no cut costs less, by a maximum flow"
    if isinstance(proof, Enumerated):
        return f"{proof.cutter}: the best of all {proof.count:,} {proof.kind}"
    if isinstance(proof, Heuristic):
        return f"{proof.cutter or 'trying some'}: {proof.why}"
    return "no search: the cut was given"


def remarks(table: CutTable) -> list[Text]:
    """What the rows stand for, where it is not the network's own tensors that cross."""
    found: list[Text] = []
    if table.problem.codec is not None:
        found.append(plain(f"With {table.problem.codec} at every cut."))
    if table.own is not None:
        found.append(plain(f"The model is cut after {table.own.name}: --cut auto is that one."))
    return [*found, *_counted(table)]


def _counted(table: CutTable) -> list[Text]:
    """What the prices count that the rows do not show: results, how large a JPEG is, and which
    layers were not measured where others were."""
    found = [*_not_measured(table)]
    if table.problem.results == "server":
        found.append(plain("Results are wanted at the server: nothing comes back."))
    elif table.usable and (share := _share_of_results(table)) > _MUCH:
        size = short_bytes(table.server.cost.result_bytes)
        found.append(
            plain(
                f"Results come back, {size} and {share:.0%} of the time; with --results server not."
            )
        )
    for row in table.sent:
        if row.sent is not None and row.sent.how == "jpeg":
            size = short_bytes(row.cost.boundary_bytes)
            found.append(
                plain(f"A JPEG of {size}: {row.sent.source}; --server-input says what is sent.")
            )
    return found


def _not_measured(table: CutTable) -> Iterator[Text]:
    costs = table.costs
    for side, cost in (("device", costs.device), ("server", costs.server)):
        first, *others = not_measured(cost, costs.graph) or ("",)
        if first:
            more = f" and {len(others):,} more" if others else ""
            yield plain(f"Not measured on the {side} but predicted: {first}{more}.")


def _share_of_results(table: CutTable) -> float:
    """Of the best cut's latency what its results take on their way back."""
    cost = table.best.cost
    took_s = table.costs.link.transfer_s(cost.result_bytes)
    return took_s / cost.latency_s if cost.latency_s else 0.0


def route_table(manifest: Manifest) -> Table:
    """The routes of a bundle, ▸ before its default: what crosses, and what each is to take."""
    view = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    view.add_column("", width=1)
    view.add_column("route", no_wrap=True, overflow="ellipsis", max_width=30)
    view.add_column("crosses", justify="right", no_wrap=True)
    for name in ("head ms", "link ms", "tail ms", "agrees"):
        view.add_column(name, justify="right", no_wrap=True)
    for route in manifest.routes:
        took, cost = route.predicted, route.codec.cost if route.codec else None
        times = (*took.site_ms.values(), took.link_ms)
        head, tail, link = (f"{ms:,.1f}" for ms in times)
        view.add_row(
            "▸" if route.name == manifest.default else "", plain(route.name),
            short_bytes(route.boundary_bytes), head, link, tail,
            f"{cost.agreement:.1%}" if cost else "",
        )  # fmt: skip
    return view


def samples(found: Verification) -> str:
    """How many golden samples there were, in words."""
    return "1 sample" if found.samples == 1 else f"{found.samples} samples"


def checked(found: Verification) -> str:
    """What the check before the bundle was there found, in a line."""
    return (
        f"checked: worst error {found.worst.relative:.1e}, tolerance {found.tolerance:.0e}, "
        f"{samples(found)}"
    )


def not_run(bundle: Bundle, found: Verification) -> Iterator[str]:
    """Which parts' own code did not run for want of a graphics processor, and what did."""
    from splitc.runtime.devices import why_not_run

    for name, one in found.ran.items():
        part = bundle.part(name)
        if part.device is not None and one.how.startswith("host build"):
            yield (
                f"the {name}'s own code was not run: {why_not_run(part)}; the same layers, "
                "compiled for this machine's processor, were checked in its place"
            )


def ran_lines(ran: Mapping[str, str]) -> list[Text]:
    """What ran of each part, in lines; parts that ran alike together."""
    alike: dict[str, list[str]] = {}
    for name, how in ran.items():
        alike.setdefault(how, []).append(name)
    clauses: list[str] = []
    for how, names in alike.items():
        clause = f"{', '.join(names)} ran as {how}"
        clauses.append(clause if len(clause) <= 80 else f"{len(names)} parts ran as {how}")
    line = "; ".join(clauses)
    return [plain(text) for text in ([line] if len(line) <= 80 else clauses)]


def quantized_lines(manifest: Manifest) -> list[str]:
    """What quantising did before the network was cut, and what it costs, in lines."""
    from splitc.bundle.codec_cost import quantized_in_words

    made = manifest.source.quantized
    return [] if made is None else quantized_in_words(made)


def cost_lines(codec: CodecEntry | None) -> list[str]:
    """What a codec costs against the given network, in lines."""
    from splitc.bundle.codec_cost import in_words

    return in_words(codec.cost) if codec is not None and codec.cost else []
