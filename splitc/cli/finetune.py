# SPDX-License-Identifier: Apache-2.0
"""`splitc finetune`: put a codec or a channel into a network and train it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitc.cli import options as o
from splitc.errors import OutputError, ToolchainError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from splitc.cli.finetune_asked import Asked
    from splitc.cli.listings import FinetuneObject
    from splitc.finetune.callbacks import Callback, EpochRecord
    from splitc.finetune.loop import Tuned
    from splitc.finetune.recipes import Recipe
    from splitc.finetune.stage import Stage
    from splitc.frontend.torch.model import TorchModel

DATA = "Data and training"


def finetune(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="ONNX file, .pt2 of torch.export, or [b]FILE.py:FUNCTION[/] that returns a "
            "module and example inputs.",
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", metavar="RECIPE",
                     help="What to do, with options: [b]'bottlenetpp(channels=8)'[/], "
                     "[b]'si-nr(loss_rate=0.2)'[/]. [b]splitc passes RECIPE[/] explains it."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="FILE.py:FUNCTION", rich_help_panel=DATA,
                     help="A function that returns (train, validate): each batches (inputs, "
                     "targets) in a list or a DataLoader, or a function of the epoch. The file "
                     "is run as a program of yours, with all it may do."),
    ] = None,
    cut: Annotated[
        str, typer.Option("--cut", "-c", metavar="LAYER", help="Layer whose output crosses.")
    ] = "",
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write [MODEL.tuned]."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, rich_help_panel=DATA,
                     help="Of each stage at most, instead of the recipe's."),
    ] = None,
    loss: Annotated[
        str,
        typer.Option("--loss", metavar="NAME|FILE.py:FUNCTION", rich_help_panel=DATA,
                     help="mse, or a function of (results, targets) that gives a scalar, instead "
                     "of the cross-entropy."),
    ] = "",
    metric: Annotated[
        str,
        typer.Option("--metric", metavar="NAME|FILE.py:FUNCTION", rich_help_panel=DATA,
                     help="What the best epoch is chosen by: accuracy, loss, or a function of "
                     "(results, targets), higher better."),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a finished result that stands at DIR.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", rich_help_panel=DATA,
                     help="Go on where a run was stopped: DIR.checkpoint has all its options."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", rich_help_panel=DATA, help="Of all drawn.")] = 0,
    device: Annotated[
        str,
        typer.Option("--device", metavar="NAME", rich_help_panel=DATA, help="cpu, cuda, cuda:1."),
    ] = "cpu",
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="TYPE", rich_help_panel=DATA,
                     help="float32, or bfloat16 for convolutions and matrix products."),
    ] = "float32",
    inputs: o.Inputs = None,
    simplify: o.Simplify = False,
    max_bytes: o.MaxBytes = "8GiB",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Rewrite MODEL by a recipe, train it on your data, write a folder to compile."""
    from splitc.cli import show
    from splitc.finetune.recipes import judged, parse_recipe
    from splitc.frontend.userfile import call, two

    _need_torch()
    from splitc.cli.finetune_asked import Asked, KeepAsked

    asked = Asked(
        recipe=str(_with_cut(parse_recipe(recipe), cut)) if recipe else "", data=data or "",
        epochs=epochs, loss=loss, metric=metric, seed=seed, device=device, precision=precision,
        input=tuple(inputs or ()), simplify=simplify, max_bytes=max_bytes,
    )  # fmt: skip
    name = o.ModelOptions(model, None, simplify, max_bytes).name
    folder = Path(output or f"{name}.tuned")
    checkpoint = folder.with_name(f"{folder.name}.checkpoint")
    if resume and not checkpoint.exists() and _is_finished(folder, quiet=quiet, json=json):
        return
    asked = _whole(asked, context, checkpoint if resume else None)
    chosen = parse_recipe(asked.recipe)
    options = o.ModelOptions(model, asked.input, asked.simplify, asked.max_bytes, as_torch=True)
    _refuse_output(folder, force=force)
    judge = {"loss": _judge(asked.loss, "--loss"), "metric": _judge(asked.metric, "--metric")}
    loaded = _read(options, asked.seed)
    if loaded.note and not quiet and not json:
        show.err().print(f"note: {loaded.note}")
    _refuse_cut(chosen, loaded, model)
    train, validate = two(call(asked.data, "--data"), "--data", "(train, validate)")
    digest, before = loaded.digest, loaded.graph
    tuned = _train(
        chosen, loaded, train, validate, KeepAsked(asked), again=_again(model, output),
        quiet=quiet, seed=asked.seed, epochs=asked.epochs, checkpoint=checkpoint, resume=resume,
        device=asked.device, precision=asked.precision, **judge,
    )  # fmt: skip
    from splitc.finetune.folder import Origin, save_tuned

    origin = Origin(options.name, model, digest, before, chosen.pipeline(), str(chosen), asked.seed)
    save_tuned(folder, tuned, origin)
    shutil.rmtree(checkpoint, ignore_errors=True)
    if json:
        show.print_json(_object(folder, tuned, chosen))
        return
    console = show.out()
    stages = judged(chosen.stages(), **judge)
    console.print(_table(tuned.history, {stage.name: stage for stage in stages}))
    for line in _channel_lines(tuned, stages):
        console.print(line, style="dim")
    console.print(f"wrote {folder}/")
    if not quiet:
        show.next_line(f"splitc compile {folder} --target rpi4")


def _need_torch() -> None:
    import importlib.util

    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            what = f"fine-tuning needs {package}, which is not installed"
            raise ToolchainError(what, hint="pip install 'splitc[torch]'")


def _whole(asked: Asked, context: typer.Context, checkpoint: Path | None) -> Asked:
    """The options of a run, of one that goes on those that it began with.

    Raises:
        UsageError: A run that goes on had others, or one that begins lacks some.
    """
    from splitc.cli.finetune_asked import read_asked

    kept = None if checkpoint is None else read_asked(checkpoint)
    if kept is not None and checkpoint is not None:
        typed = {
            name
            for name in context.params
            if getattr(context.get_parameter_source(name), "name", "")
            in ("COMMANDLINE", "ENVIRONMENT")
        }
        given = {"input" if name == "inputs" else name for name in typed}
        return asked.gone_on(kept, given, checkpoint)
    for option, value in (("--recipe", asked.recipe), ("--data", asked.data)):
        if not value:
            hint = "`splitc passes` lists the recipes" if option == "--recipe" else ""
            raise UsageError(f"finetune needs {option}", hint=hint)
    return asked


def _again(model: str, output: str | None) -> str:
    """What to type to go on with a run."""
    words = ["splitc", "finetune", model, *(("-o", output) if output else ()), "--resume"]
    return shlex.join(words)


def _with_cut(recipe: Recipe, cut: str) -> Recipe:
    if not cut:
        return recipe
    if not hasattr(recipe, "cut"):
        raise UsageError(f"the recipe '{recipe.name}' takes no cut", hint="leave --cut out")
    return replace(recipe, cut=cut)  # pyright: ignore[reportCallIssue]


def _is_finished(folder: Path, *, quiet: bool, json: bool) -> bool:
    """Whether a run that is to be gone on with has ended; says so."""
    from splitc.cli import show
    from splitc.finetune.folder import load_tuned
    from splitc.finetune.manifest import is_tuned, read_manifest

    if not is_tuned(folder):
        return False
    if json:
        import msgspec

        from splitc.finetune.callbacks import EpochRecord
        from splitc.finetune.loop import Tuned
        from splitc.finetune.recipes import parse_recipe

        manifest = read_manifest(folder)
        history = tuple(EpochRecord(**msgspec.structs.asdict(e)) for e in manifest.history)
        tuned = Tuned(load_tuned(folder), history)
        show.print_json(_object(folder, tuned, parse_recipe(manifest.recipe)))
    elif not quiet:
        show.out().print(f"{folder}/ is finished: there is nothing to go on with", soft_wrap=True)
    return True


def _judge(text: str, option: str) -> Any:
    """A loss or metric by its name, or the user's function."""
    from splitc.frontend.userfile import function, is_python

    return function(text, option) if is_python(text) else text


def _refuse_output(folder: Path, *, force: bool) -> None:
    """Raise before hours of training, not after them."""
    from splitc.finetune.manifest import is_tuned

    if is_tuned(folder) and not force:
        hint = "--force replaces it, -o DIR writes beside it"
        raise OutputError(f"cannot write '{folder}'", why="a finished result is there", hint=hint)
    if folder.exists() and not is_tuned(folder):
        why = "it exists and is no folder of a fine-tuned model"
        raise OutputError(f"cannot write '{folder}'", why=why, hint="choose another -o")
    if not folder.resolve().parent.is_dir():
        why = f"there is no folder '{folder.parent}'"
        raise OutputError(f"cannot write '{folder}'", why=why, hint="choose another -o")


def _read(options: o.ModelOptions, seed: int) -> TorchModel:
    """The model; what its function draws depends on the seed."""
    import torch

    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
    loaded: Any = options.load()
    return loaded


def _refuse_cut(recipe: Recipe, model: TorchModel, path: str) -> None:
    """Raise what is wrong with the cut before the data function runs, which may take long."""
    import torch

    from splitc.passes.base import blaming

    if getattr(recipe, "cut", None) == "" and model.cut is None:
        hint = f"name the layer whose output crosses: --cut LAYER; `splitc cuts {path}` lists them"
        raise UsageError(f"the recipe '{recipe.name}' needs a cut", hint=hint)
    # the weights of a codec are drawn again for the training
    random: Any = torch.random
    with random.fork_rng(devices=()), blaming(recipe.name):
        recipe.pipeline()(model)


def _train(
    recipe: Recipe, model: TorchModel, train: Any, validate: Any, keep: Callback, *, again: str,
    quiet: bool, **how: Any,
) -> Tuned:  # fmt: skip
    from splitc.cli import show
    from splitc.finetune.progress import ShowProgress

    try:
        if quiet:
            return recipe.tune(model, train, validate, callbacks=[keep], **how)
        with ShowProgress() as bar:
            return recipe.tune(model, train, validate, callbacks=[keep, bar], **how)
    except KeyboardInterrupt:
        if how["checkpoint"].exists():
            text = f"its epochs are kept in {how['checkpoint']}; to go on: {again}"
            show.err().print(text, markup=False, soft_wrap=True)
        raise


def _pairs(history: tuple[EpochRecord, ...]) -> list[tuple[EpochRecord, EpochRecord, int]]:
    """Of each stage: how it began, its best epoch, and how many epochs it had."""
    found: dict[str, list[EpochRecord]] = {}
    for record in history:
        found.setdefault(record.stage, []).append(record)
    return [
        (records[0], next(r for r in reversed(records) if r.best), records[-1].epoch)
        for records in found.values()
    ]


def _table(history: tuple[EpochRecord, ...], stages: dict[str, Stage]) -> Table:
    from rich.table import Table

    from splitc.cli import show
    from splitc.finetune.progress import metric_name

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for title in ("epochs", "best", "loss before", "after", "metric", "before", "after"):
        table.add_column(title, justify="left" if title == "metric" else "right")
    for first, best, count in _pairs(history):
        table.add_row(
            show.plain(first.stage), str(count), str(best.epoch), f"{first.validation_loss:.4f}",
            f"{best.validation_loss:.4f}", metric_name(stages.get(first.stage)),
            f"{first.metric:.4f}", f"{best.metric:.4f}",
        )  # fmt: skip
    return table


def _channel_lines(tuned: Tuned, stages: Sequence[Stage]) -> list[str]:
    """Whether what was measured had the channel on: the dropout, or the noise."""
    from splitc.ir.chain import channel_layers

    graph = tuned.model.graph
    names = ", ".join(graph.layer(name).op for name in channel_layers(graph))
    if not names:
        return []
    ran = {record.stage for record in tuned.history}
    on = [s.name for s in stages if s.name in ran and s.is_measured_on_channel]
    off = [s.name for s in stages if s.name in ran and not s.is_measured_on_channel]
    return [
        f"Validation of {', '.join(group)} ran with {names} {state}."
        for group, state in ((on, "on, as in training"), (off, "off"))
        if group
    ]


def _object(folder: Path, tuned: Tuned, recipe: Recipe) -> FinetuneObject:
    from splitc.cli.listings import EpochObject, FinetuneObject, StageObject, boundary_of

    cut = tuned.model.cut
    stages = tuple(
        StageObject(
            stage=first.stage, epochs=count, best_epoch=best.epoch,
            loss_before=first.validation_loss, loss_after=best.validation_loss,
            metric_before=first.metric, metric_after=best.metric,
        )
        for first, best, count in _pairs(tuned.history)
    )  # fmt: skip
    return FinetuneObject(
        folder=str(folder),
        recipe=str(recipe),
        pipeline=str(recipe.pipeline()),
        cut=cut.name if cut else None,
        boundary=boundary_of(cut),
        stages=stages,
        history=tuple(map(EpochObject.of, tuned.history)),
    )
