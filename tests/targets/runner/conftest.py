# SPDX-License-Identifier: Apache-2.0
"""The probe, for this machine and for an ARM board, built once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from splitc.errors import ToolchainError
from tests.targets.runner.probe import Probe


@pytest.fixture(scope="session", params=["host", "rpi4"])
def probe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Probe]:
    """The runner's C++, asked from Python."""
    try:
        made = Probe(request.param, tmp_path_factory.mktemp("probe"))
    except ToolchainError as error:
        pytest.skip(str(error))
    with made:
        yield made
