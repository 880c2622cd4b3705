# SPDX-License-Identifier: Apache-2.0
"""Runs a page: its fenced blocks, in order, in one folder, as a reader would type them.

    ```sh                 lines are commands
    ```console            lines after `$ ` are commands, the others what they print; lines after
                          another machine's prompt (`pi$ `) and what is behind them are not run
    ```python             is run; names live on to the page's next block
    ```python NAME.py     is written to that file, in any language
    ```text               right behind one that runs, with nothing between: what it prints
    ```                   anything else is not run

In what is printed `…` stands for anything, a line `…` for any lines.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from splitc.cli.app import run as run_verb

FENCE = re.compile(r"^```(\w+)(?: ([\w./-]+))?\n(.*?)^```$", re.M | re.S)
RUN = ("sh", "console", "python")
SHELL = re.compile(r"[|&;<>$*`]")
"""What a shell has to read; a verb's arguments alone are not given to one."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        language: The word behind the fence.
        name: The file that it is; empty where it is none.
        text: What is in it.
        line: Where it begins.
        printed: What the page says that it prints, for `python` and `sh`.
    """

    language: str
    name: str
    text: str
    line: int
    printed: str = ""


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are run or written; others are left out."""
    found: list[Block] = []
    ran = -1
    """Where the block ended that was run last."""
    for match in FENCE.finditer(page):
        language, name, text = match[1], match[2] or "", match[3]
        if language == "text" and ran >= 0 and not page[ran : match.start()].strip():
            found[-1] = replace(found[-1], printed=text)
        elif name or language in RUN:
            line = page.count("\n", 0, match.start()) + 1
            found.append(Block(language, name, text, line))
        ran = match.end() if language in RUN and not name else -1
    return found


def commands(text: str) -> list[str]:
    """The commands of an `sh` block: comments off, lines that end in a backslash joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line]


def session(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a `console` block, each with what it prints."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for part in re.split(r"^(?=\w*\$ )", joined, flags=re.M):
        if part.startswith("$ "):
            command, _, printed = part.removeprefix("$ ").partition("\n")
            yield from ((one, printed) for one in commands(command))


class Page:
    """A page that is being run.

    Args:
        folder: Where; the caller's working directory has to be it already.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
        programs = folder / ".bin"
        programs.mkdir()
        program = programs / "splitc"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m splitc "$@"\n')
        program.chmod(0o755)
        python = Path(sys.executable).parent
        self.environment["PATH"] = f"{programs}:{python}:{os.environ['PATH']}"

    def run(self, block: Block) -> None:
        """Run one block, and hold what it prints against what the page says."""
        where = f"line {block.line}"
        if block.name:
            path = self.folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.language == "python":
            assert_printed(self._python(block), block.printed, where)
        elif block.language == "sh":
            printed = "".join(map(self._command, commands(block.text)))
            assert_printed(printed, block.printed, where)
        else:
            for command, printed in session(block.text):
                assert_printed(self._command(command), printed, f"{where}: {command}")

    def _python(self, block: Block) -> str:
        printed = io.StringIO()
        code = compile("\n" * block.line + block.text, "page", "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, self.names)
        return printed.getvalue()

    def _command(self, command: str) -> str:
        """What a command prints on both streams; a verb runs in this process."""
        words = shlex.split(command)
        if words[0] == "splitc" and not SHELL.search(re.sub(r"'[^']*'", "", command)):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                code = run_verb(words[1:])
            text = printed.getvalue()
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env=self.environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            code, text = done.returncode, done.stdout
        assert code == 0, f"{command}: exit status {code}\n{text[-3000:]}"
        return text


def assert_printed(text: str, expected: str, where: str) -> None:
    """What was printed is what the page says, `…` standing for anything.

    How wide gaps are, and where lines are broken, is a matter of the terminal and not compared.
    """
    parts = re.split(r"^\s*…\s*$", expected, flags=re.M)
    found = [r"\s+".join(map(_word, part.split())) for part in parts]
    pattern = r"(?s:.*?)".join(found)
    assert re.search(pattern, text), f"{where} prints\n{text}\nnot\n{expected}"


def _word(text: str) -> str:
    return r"[^\n]*?".join(map(re.escape, text.split("…")))
