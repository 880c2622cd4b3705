# SPDX-License-Identifier: Apache-2.0
"""What a verb's help ends with is typed as it stands; flags show no type."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from splitc.cli.app import app, run
from splitc.cli.examples import EXAMPLES
from splitc.cli.verbs import VERBS


def test_every_verb_has_examples() -> None:
    assert set(EXAMPLES) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_lines_that_the_verb_takes(verb: str) -> None:
    program: Any = typer.main.get_command(app)
    for line in EXAMPLES[verb]:
        assert len(line) <= 78
        name, first, *arguments = shlex.split(line)
        assert (name, first) == ("splitc", verb)
        command = program.commands[verb]
        command.make_context(verb, arguments)  # parses, and raises at what it does not know


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_the_examples_and_shows_no_type_for_flags(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "<bool>" not in out
    shown = out.partition("Examples:")[2]
    for line in EXAMPLES[verb]:
        assert line in shown
