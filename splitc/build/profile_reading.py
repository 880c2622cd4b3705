# SPDX-License-Identifier: Apache-2.0
"""The network that a profile is of: read while what compiles it gets ready."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from splitc.build.backend import EMIT, Backend, warm_up
from splitc.build.refusals import refuse_unsupported
from splitc.frontend import load
from splitc.frontend.onnx.bounded import bounded
from splitc.ir.model import Network


def read_network(
    model: Network | str | Path, backend: Backend, name: str | None, progress: Callable[[str], None]
) -> tuple[Network, str]:
    """A network that a backend compiles, and what it is called in a profile.

    Args:
        model: A loaded network, or what `splitc.load` takes.
        backend: What is to compile it.
        name: What it is called; by default as the file, or as it calls itself.
        progress: Called with the step's name where there is something to read.

    Raises:
        SplitcError: It cannot be read or compiled.
    """
    if isinstance(model, str | Path):
        progress("reading the network")
        name = name or Path(model).stem
        model = load(model, meanwhile=lambda: warm_up(EMIT))
    if backend.compiles:
        model = bounded(model)
    refuse_unsupported(backend, model, "network")
    return model, name or model.name
