# SPDX-License-Identifier: Apache-2.0
"""pyproject.toml, constraints-min.txt and requirements.lock say the same of what splitc needs."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.helpers import ROOT

CORE = [
    Requirement(text)
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "dependencies"
    ]
]


def pinned(name: str) -> dict[str, Version]:
    """The release of each package that a file pins, by its canonical name."""
    found = re.findall(r"^([\w.-]+)==([\w.+]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(package): Version(version) for package, version in found}


@pytest.mark.parametrize("needed", CORE, ids=lambda needed: needed.name)
def test_the_lowest_release_that_is_let_in_is_the_one_that_is_tested(needed: Requirement) -> None:
    lowest = pinned("constraints-min.txt")[canonicalize_name(needed.name)]
    (bound,) = needed.specifier
    parts = Version(bound.version).release
    assert needed.specifier.contains(lowest)
    assert lowest.release[: min(2, len(parts))] == parts[:2]


@pytest.mark.parametrize("needed", CORE, ids=lambda needed: needed.name)
def test_the_lock_holds_what_splitc_needs(needed: Requirement) -> None:
    name = canonicalize_name(needed.name)
    assert pinned("requirements.lock")[name] == pinned("constraints.txt")[name]


def test_every_locked_release_has_hashes_and_no_index_is_named() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    for entry in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert "://" not in text
    assert "torch" not in pinned("requirements.lock")
