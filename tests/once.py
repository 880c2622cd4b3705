# SPDX-License-Identifier: Apache-2.0
"""Files that many tests read and that take long to make: one of pytest's workers makes them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of that name that `make` fills, the same one for all workers of a run.

    The others wait for it meanwhile. Its files are for reading: who changes them copies them.
    """
    base = _shared(factory)
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def _shared(factory: pytest.TempPathFactory) -> Path:
    """Where the workers of one run meet: pytest-xdist gives each a folder in it."""
    base = factory.getbasetemp()
    ours = base.name == f"popen-{os.environ.get('PYTEST_XDIST_WORKER')}"
    return base.parent if ours else base
