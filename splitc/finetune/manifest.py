# SPDX-License-Identifier: Apache-2.0
"""The folder of a fine-tuned model, `NAME.tuned/`: what its `tuned.json` says."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitc.errors import BadModelError

SCHEMA = 1
SUFFIX = ".tuned"
MANIFEST = "tuned.json"
PROGRAM = "model.pt2"
WEIGHTS = "weights.safetensors"
_MAX_BYTES = 64 * 2**20


class EpochEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One epoch; see `splitc.finetune.EpochRecord`."""

    stage: str
    epoch: int
    train_loss: float | None
    validation_loss: float
    metric: float
    best: bool
    learning_rate: float
    seconds: float


class TunedManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a fine-tuned model was made from, and how.

    Args:
        name: Of the model.
        source: What was read, as the user named it.
        source_sha256: Of the weights and the graph that were read.
        graph: Text of the layers that were read, before any pass.
        pipeline: The passes that were applied, as text.
        cut: The last layers of the head, behind the passes.
        boundary: The tensor that crosses.
        recipe: The recipe as text.
        seed: Of the training.
        history: Every epoch.
        files: sha256 of each other file, by name.
        versions: Of splitc, PyTorch and Python.
    """

    schema: int = SCHEMA
    name: str
    source: str
    source_sha256: str
    graph: str
    pipeline: str
    cut: str
    boundary: str
    recipe: str
    seed: int
    history: tuple[EpochEntry, ...]
    files: dict[str, str]
    versions: dict[str, str]


def is_tuned(path: str | Path) -> bool:
    """Whether a path is the folder of a fine-tuned model."""
    return (Path(path) / MANIFEST).is_file()


def read_manifest(folder: str | Path) -> TunedManifest:
    """Read `tuned.json`.

    Raises:
        BadModelError: There is none, it is malformed, or of another version.
    """
    path = Path(folder) / MANIFEST
    what = f"'{Path(folder).name}' is no folder of a fine-tuned model"
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise BadModelError(what, at=MANIFEST, why="it is no plain file, or too large")
        manifest = msgspec.json.decode(path.read_bytes(), type=TunedManifest)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        hint = "`splitc finetune` writes one"
        raise BadModelError(what, at=MANIFEST, why=str(error), hint=hint) from error
    if manifest.schema != SCHEMA:
        why = f"its schema is {manifest.schema}, this splitc reads {SCHEMA}"
        raise BadModelError(what, at=MANIFEST, why=why)
    return manifest
