# SPDX-License-Identifier: Apache-2.0
"""The verbs: what each does, and where it is; one is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from splitc.cli.examples import epilog


class Verb(NamedTuple):
    """A verb.

    Args:
        where: `module:function` in this package.
        help: What it does: the first paragraph of the function's docstring.
    """

    where: str
    help: str


VERBS = {
    "compile": Verb("compile:compile_", "Cut MODEL in two, compile head and tail, write a bundle."),
    "build": Verb(
        "build:build",
        "Build many bundles, what did not change not again, in processes beside each other.",
    ),
    "cuts": Verb("cuts:cuts", "Rank the legal cuts of MODEL for a device, a server and a link."),
    "plan": Verb(
        "plan:plan",
        "Choose the cuts of MODEL for changing conditions, or for a lossy link with --tested.",
    ),
    "profile": Verb(
        "profile:profile",
        "Measure the layers of MODEL on this machine, in its compiled code, for --profile.",
    ),
    "importance": Verb(
        "importance:importance",
        "Measure on your data which layers of MODEL have to do with the right answer.",
    ),
    "fit": Verb(
        "fit:fit",
        "Fit times of layers by kind to PROFILES, for --profile with any network.",
    ),
    "inspect": Verb(
        "inspect:inspect",
        "Show layers, blocks, shapes, FLOPs and weights of a MODEL, or a BUNDLE's manifest.",
    ),
    "verify": Verb(
        "verify:verify",
        "Check every file's hash and the cut's proof, then head and tail on golden vectors.",
    ),
    "diff": Verb(
        "diff:diff",
        "Say what changed from OLD to NEW: cut, codec, kernels, tools, and every figure.",
    ),
    "baseline": Verb(
        "diff:baseline",
        "Keep what is known of BUNDLE in a small file, for splitc diff to compare with.",
    ),
    "pack": Verb(
        "pack:pack",
        "Write BUNDLE as one file: the same bytes for the same bundle, on any machine.",
    ),
    "unpack": Verb(
        "pack:unpack_",
        "Write the bundle in FILE as a folder again, every file of it checked.",
    ),
    "sign": Verb(
        "sign:sign",
        "Sign BUNDLE: every file of it, in OpenSSF's model signing format, into BUNDLE/model.sig.",
    ),
    "run": Verb(
        "run:run_",
        "Run head and tail of BUNDLE one after the other, here, without a link.",
    ),
    "bench": Verb(
        "bench:bench",
        "Measure every part of BUNDLE in this process: times, loading, memory.",
    ),
    "report": Verb(
        "report:report_",
        "Write what BUNDLE is and why it was cut there: a page, or Markdown.",
    ),
    "evaluate": Verb(
        "evaluate:evaluate",
        "Measure how right MODELS are on your data when packets are lost and not sent again.",
    ),
    "finetune": Verb(
        "finetune:finetune",
        "Rewrite MODEL by a recipe, train it on your data, write a folder to compile.",
    ),
    "quantize": Verb(
        "quantize:quantize",
        "Write MODEL with convolutions and products on bytes, and say what that costs.",
    ),
    "targets": Verb("targets:targets", "List the boards that head and tail can be compiled for."),
    "passes": Verb(
        "passes:passes",
        "List the passes, cutters and recipes of `splitc finetune`, or print one's specification.",
    ),
    "ops": Verb(
        "ops:ops",
        "List MODEL's operators; name those that cannot be compiled, exit status 4 if any.",
    ),
    "doctor": Verb(
        "doctor:doctor",
        "Check what this machine has and lacks; exit status 6 if compiling would fail. With "
        "--link, measure the link to a server.",
    ),
    "schema": Verb(
        "schema:schema",
        "Print the JSON schema of the manifests, or of what VERB prints (always JSON).",
    ),
    "serve": Verb("serve:serve", "Run the tails of bundles for devices that splitc send to it."),
    "send": Verb("send:send", "Run the head here, send what crosses, and take the tail's answers."),
    "simulate": Verb(
        "simulate:simulate_",
        "Run BUNDLE's device and server with a simulated link between them: latency, "
        "accuracy, energy, without a network.",
    ),
}
EPILOG = """\
A verb's own options: splitc VERB --help. Defaults for options: splitc.toml here, then \
SPLITC_OPTION variables."""
_HELP = {"help_option_names": ["-h", "--help"]}


def function_of(name: str) -> Any:
    """The function behind a verb."""
    module, _, function = VERBS[name].where.partition(":")
    return getattr(importlib.import_module(f"splitc.cli.{module}"), function)


class _Command(TyperCommand):
    """A verb, whose help shows no type for flags: they take no value."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters, that of the help among them."""
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Commands(MutableMapping[str, Any]):
    """Typer's commands by name, each made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in VERBS:
                raise KeyError(name)
            alone = typer.Typer(
                rich_markup_mode="rich", add_completion=False, context_settings=_HELP
            )
            alone.command(name, cls=_Command, epilog=epilog(name))(function_of(name))
            self._made[name] = typer.main.get_command(alone)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class Verbs(TyperGroup):
    """The program: its own help names the verbs without importing any, or Rich."""

    def __init__(self, **attrs: Any) -> None:
        attrs["rich_markup_mode"] = None
        super().__init__(**attrs)
        self.commands = _Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of verbs."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])
