# SPDX-License-Identifier: Apache-2.0
"""Pictures that matplotlib draws: which files, and how they come about."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from splitc.errors import OutputError, ToolchainError, UsageError

_KINDS = (".svg", ".png", ".pdf")


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before what it shows is computed.

    Raises:
        UsageError: It has another ending than one that is known.
        ToolchainError: Nothing draws.
    """
    if path.suffix not in _KINDS:
        raise UsageError(f"'{path}' is no picture", hint=f"let it end in {', '.join(_KINDS)}")
    _drawing()


def draw(path: str | Path, title: str, body: Callable[[Any], None], *, height: float = 4.2) -> None:
    """Draw a picture.

    Args:
        path: Where to; its ending says which kind.
        title: What stands above.
        body: Draws into a matplotlib figure.
        height: In inches; it is 7.2 wide.

    Raises:
        UsageError: It has another ending than one that is known.
        ToolchainError: Nothing draws.
        OutputError: It cannot be written.
    """
    check_plot(Path(path))
    figure: Any = _drawing().Figure(figsize=(7.2, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    body(figure)
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        why = error.strerror or str(error)
        hint = "choose another --plot"
        raise OutputError(f"cannot write '{path}'", why=why, hint=hint) from error


def _drawing() -> Any:
    try:
        matplotlib: Any = import_module("matplotlib")
        matplotlib.use("Agg")
        return import_module("matplotlib.figure")
    except ImportError as error:
        hint = "pip install 'splitc[plot]'"
        raise ToolchainError("matplotlib is not installed: nothing draws", hint=hint) from error
