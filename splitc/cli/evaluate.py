# SPDX-License-Identifier: Apache-2.0
"""`splitc evaluate`: accuracy by what the link loses, networks and codecs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitc.cli import gates
from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.arrays import Arrays
    from splitc.evaluate import Evaluation, Samples, Subject
    from splitc.runtime.manifest import TensorSpec

SIDE = "Side by side"
_CALIBRATE = 32
"""Samples of the training data that codecs take their ranges from."""


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL|BUNDLE…", help="Folders of finetune or compile, ONNX or "
                       ".pt2 files, FILE.py:FUNCTION: the others are compared with the first."),
    ],
    data: Annotated[
        str,
        typer.Option("--data", "-d", metavar="FILE.py:FUNCTION|FILE.npz|DIR",
                     help="Labelled samples: what (train, validate) of finetune's function "
                     "validates on; or arrays by input name, and [b]labels[/]."),
    ],
    cut: Annotated[
        str,
        typer.Option("--cut", "-c", metavar="LAYER[,LAYER]",
                     help="Where to cut networks that have no cut."),
    ] = "",
    loss: Annotated[
        str, typer.Option("--loss", metavar="RATE,RATE,…", help="Shares of packets lost.")
    ] = "0,10%,20%,30%,50%",
    codec: Annotated[
        list[str] | None,
        typer.Option("--codec", metavar="PASSES", rich_help_panel=SIDE,
                     help="Networks without a cut of their own: with these passes at it too. "
                     "Repeatable."),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option("--bits", metavar="N,N,…", rich_help_panel=SIDE,
                     help="The same with so many bits for each element: [b]8,4,2[/]."),
    ] = None,
    calibrate: o.Calibrate = None,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", min=1, help="At most so many.")
    ] = None,
    mtu: Annotated[
        int, typer.Option("--mtu", metavar="BYTES", help="Largest packet, headers included.")
    ] = 1500,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the losses.")] = 0,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="FILE.svg|png",
                     help="Draw accuracy against loss (splitc\\[plot])."),
    ] = None,
    fail_on: gates.FailOn = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure how right MODELS are on your data when packets are lost and not sent again."""
    from splitc.cli import show
    from splitc.cli.evaluate_object import EvaluateObject
    from splitc.evaluate import evaluate as run
    from splitc.link.packets import payload_bytes
    from splitc.pictures import check_plot

    wanted, room = gates.read_gates(fail_on, "evaluate"), payload_bytes(mtu)
    rates = _rates(loss)
    codecs = [*(codec or ()), *_bits(bits)]
    if plot is not None:
        check_plot(Path(plot))
    source = _Source(data, calibrate, samples)
    with ExitStack() as stack, show.progress(quiet) as step:
        step("reading")
        subjects = [
            one for path in models for one in _subjects(path, cut, codecs, source, stack)
        ]  # fmt: skip
        found = run(subjects, source.read, rates, payload_bytes=room, seed=seed, told=step)
        if plot is not None:
            from splitc.evaluate.plot import plot as draw

            draw(plot, found, f"{data}, {found.points[0].samples:,} samples")
    printed = EvaluateObject.of(found, data, room, seed)
    verdicts = _judged(printed, wanted)
    if json:
        import msgspec

        show.print_json(msgspec.structs.replace(printed, gates=verdicts))
    else:
        _print(found, room, quiet=quiet)
    gates.close(verdicts, json=json)


class _Source:
    """Where samples are from.

    Args:
        data: What `--data` names.
        calibrate: What `--calibrate` names.
        most: Samples at most.
    """

    def __init__(self, data: str, calibrate: str | None, most: int | None) -> None:
        from splitc.frontend.userfile import call, is_python, two

        self._data, self._calibrate, self._most = data, calibrate, most
        self._loaded: tuple[Any, Any] | None = None
        if is_python(data):
            self._loaded = two(call(data, "--data"), "--data", "(train, validate)")

    def read(self, inputs: tuple[TensorSpec, ...]) -> Samples:
        """Those to evaluate on."""
        from splitc.evaluate import read_samples, samples_of

        if self._loaded is None:
            return read_samples(self._data, inputs, most=self._most)
        return samples_of(self._loaded[1], inputs, most=self._most)

    def batches(self, inputs: Sequence[Any], specs: tuple[TensorSpec, ...]) -> Sequence[Arrays]:
        """Those to calibrate on: of the training data where no others are named."""
        from splitc.evaluate import samples_of
        from splitc.passes.calibration import read_batches

        if self._calibrate is not None:
            return read_batches(self._calibrate, inputs)
        if self._loaded is None:
            return ()
        return samples_of(self._loaded[0], specs, most=_CALIBRATE, which="train").frames


def _subjects(
    path: str, cut: str, codecs: Sequence[str], source: _Source, stack: ExitStack
) -> Iterator[Subject]:
    """What a path stands for: a bundle's routes; a network, and with each codec."""
    from splitc.evaluate import of_bundle, of_network
    from splitc.finetune.manifest import is_tuned
    from splitc.runtime.manifest import TensorSpec

    if Path(path).is_dir() and not is_tuned(path):
        yield from stack.enter_context(of_bundle(path))
        return
    options = o.ModelOptions(path, None, simplify=True, max_bytes="8GiB")
    loaded = options.load()
    name = Path(path).name
    if loaded.cut is not None:
        yield of_network(name, loaded)
        return
    yield of_network(name, loaded, cut=cut)
    if not codecs:
        return
    inputs = loaded.graph.inputs
    batches = source.batches(inputs, tuple(map(TensorSpec.of, inputs)))
    for one in codecs:
        yield of_network(f"{name} {one}", loaded, cut=cut, codec=one, batches=batches)


def _rates(text: str) -> tuple[float, ...]:
    """Loss rates from `0,10%,0.2`."""
    from splitc.link.link import parse_share

    return tuple(parse_share(word.strip()) for word in text.split(","))


def _bits(text: str | None) -> Iterator[str]:
    """The pass that sends so many bits, for each number."""
    from splitc.build.route_spec import BITS, check_widths

    if text is None:
        return
    widths = o.parse_sizes(text, "--bits")
    check_widths(widths)
    yield from (f"{BITS}(bits={width})" for width in widths)


def _judged(printed: Any, wanted: Sequence[Any]) -> tuple[Any, ...]:
    """What becomes of gates."""
    if not wanted:
        return ()
    import msgspec

    from splitc.figures.gate import judge
    from splitc.figures.values import of_evaluated

    return judge(wanted, of_evaluated(msgspec.to_builtins(printed)))


def _print(found: Evaluation, room: int, *, quiet: bool) -> None:
    """A line a network: what crosses, and its accuracy at each loss rate."""
    from rich.table import Table

    from splitc.cli import show

    console = show.out()
    view = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    view.add_column("packets lost", overflow="fold")
    view.add_column("crosses", justify="right", no_wrap=True)
    for rate in found.loss_rates:
        view.add_column(f"{100 * rate:.4g}%", justify="right", no_wrap=True)
    for one in found.subjects:
        cells = [f"{point.accuracy:.1%}" for point in found.of(one)]
        view.add_row(show.plain(one.name), show.short_bytes(one.boundary_bytes), *cells)
    console.print(view)
    if quiet:
        return
    for line in _about(found, room):
        console.print(show.plain(line), style="dim", soft_wrap=True)


def _about(found: Evaluation, room: int) -> Iterator[str]:
    """What is to be known of the figures."""
    yield (
        f"accuracy on {found.points[0].samples:,} samples; packets of {room:,} bytes, "
        "nothing sent again"
    )
    for one in found.subjects:
        if one.trained_over:
            yield f"{one.name}: trained over {one.trained_over}"
