# SPDX-License-Identifier: Apache-2.0
"""A picture of a terminal session: `python docs/site/record.py`, which writes docs/images/demo.svg.

The commands are really run, on a ResNet50, in a terminal of 80 columns; what they print is drawn
as it came. The picture loads no font and no script.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from splitc import zoo

COLUMNS = 80
COMMANDS = (
    "splitc compile resnet50.onnx --cut auto --target rpi4 --tail-target x86-64-v3",
    "splitc verify resnet50.splitc",
)
PICTURE = Path(__file__).resolve().parents[1] / "images" / "demo.svg"
THEME = TerminalTheme(
    (24, 26, 31), (220, 223, 228),
    [(62, 68, 81), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239),
     (198, 120, 221), (86, 182, 194), (220, 223, 228)],
)  # fmt: skip


def session(folder: Path) -> str:
    """What the commands print in a terminal, with its escape codes, prompts included."""
    shown = ""
    for command in COMMANDS:
        shown += f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m\n{printed(command, folder)}\n"
    return shown.rstrip("\n") + "\n"


def printed(command: str, folder: Path) -> str:
    """What one command writes to a terminal; its progress, on standard error, is left out.

    Raises:
        CalledProcessError: It failed.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    for name in ("NO_COLOR", "CI"):
        environment.pop(name, None)
    words = [sys.executable, "-m", *shlex.split(command)]
    with subprocess.Popen(
        words, cwd=folder, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environment
    ) as running:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:
            pass  # Linux says so when the other end of a terminal is closed
    os.close(ours)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command, text)
    return text.decode("utf-8").replace("\r\n", "\n")


def drawn(shown: str) -> str:
    """A terminal's text as SVG."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False,
        color_system="truecolor",
    )  # fmt: skip
    console.print(Text.from_ansi(shown), overflow="fold")
    svg = console.export_svg(title="splitc", theme=THEME, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
    described = "A terminal: " + ", then ".join(one.split(" -")[0] for one in COMMANDS)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{described}" ', 1)


def main() -> None:
    """Record the session and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        network = zoo.build("resnet50").SerializeToString(deterministic=True)
        (Path(folder) / "resnet50.onnx").write_bytes(network)
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(drawn(session(Path(folder))), "utf-8")


if __name__ == "__main__":
    main()
