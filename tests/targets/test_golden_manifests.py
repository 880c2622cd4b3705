# SPDX-License-Identifier: Apache-2.0
"""The manifest of a head for every board, against the one kept in tests/golden.

Hashes and sizes are left out: they change with every compiler release. To accept
a change: `SPLITC_UPDATE_GOLDEN=1 python -m pytest tests/targets/test_golden_manifests.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.cost.board import boards
from tests.helpers import ROOT

GOLDEN = ROOT / "tests" / "golden"
MACHINES: dict[str, int] = {"aarch64": 183, "x86_64": 62}


def stable(folder: Path) -> dict[str, Any]:
    """A part's manifest without what the compiler's release decides."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["files"] = sorted(manifest["files"])
    manifest["split"] = "…"
    return manifest


@pytest.mark.parametrize(
    "board", [name for name in sorted(boards()) if not name.startswith("host")]
)
def test_the_manifest_of_a_head_for_each_board(
    board: str, small_onnx: Path, tmp_path: Path
) -> None:
    bundle = splitc.compile(
        small_onnx, cut="stem", head=board, tail=board, runtime="none", output=tmp_path / "o.splitc"
    )
    found = stable(bundle.path / "head")
    path = GOLDEN / f"{board}.json"
    if os.environ.get("SPLITC_UPDATE_GOLDEN"):
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    assert found == json.loads(path.read_text("utf-8"))
    elf = (bundle.path / "head" / "model.so").read_bytes()[:20]
    assert int.from_bytes(elf[18:20], "little") == MACHINES[found["isa"]]
