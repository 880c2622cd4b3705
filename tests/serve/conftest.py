# SPDX-License-Identifier: Apache-2.0
"""A small bundle whose tail is served, in every test file here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.runtime.part import load_part
from splitc.serve.tails import Served, Step, Tail
from tests.helpers import save, small_network


@pytest.fixture(scope="session")
def small(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network cut behind its residual block, both parts in ONNX. Read only."""
    folder = tmp_path_factory.mktemp("served")
    return splitc.compile(small_onnx, cut="block_add", emit="onnx", output=folder / "small.splitc")


@pytest.fixture(scope="session")
def in_pairs(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tail]:
    """The same tail, which takes two frames at once as well."""
    folder = tmp_path_factory.mktemp("pairs")
    model = small_network()
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 2
    del model.graph.value_info[:]
    two = splitc.compile(
        save(model, folder / "two.onnx"), cut="block_add", emit="onnx", output=folder / "2.splitc"
    )
    one = served.tails[0]
    with load_part(two.path / "tail") as part:
        yield Tail(
            "small", one.crosses, one.missing, one.results,
            {1: one.steps[1], 2: [Step.of(part)]},
        )  # fmt: skip


@pytest.fixture(scope="session")
def served(small: Bundle) -> Iterator[Served]:
    """It, loaded."""
    with Served(small.path) as one:
        yield one
