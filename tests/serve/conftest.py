# SPDX-License-Identifier: Apache-2.0
"""A small bundle whose tail is served, in every test file here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.serve.tails import Served, Tail
from tests.once import once


@pytest.fixture(scope="session")
def small(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network cut behind its residual block, both parts in ONNX. Read only."""

    def make(folder: Path) -> None:
        splitc.compile(small_onnx, cut="block_add", emit="onnx", output=folder / "small.splitc")

    return Bundle.open(once(tmp_path_factory, "served", make) / "small.splitc")


@pytest.fixture(scope="session")
def small_in_pairs(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same, whose tail takes two frames at once as well."""

    def make(folder: Path) -> None:
        splitc.compile(
            small_onnx, cut="block_add", emit="onnx", batch_sizes=(2,), name="small",
            output=folder / "small.splitc",
        )  # fmt: skip

    return Bundle.open(once(tmp_path_factory, "pairs", make) / "small.splitc")


@pytest.fixture(scope="session")
def in_pairs(small_in_pairs: Bundle) -> Iterator[Tail]:
    """Its tail."""
    with Served(small_in_pairs.path) as one:
        yield one.tails[0]


@pytest.fixture(scope="session")
def served(small: Bundle) -> Iterator[Served]:
    """It, loaded."""
    with Served(small.path) as one:
        yield one
