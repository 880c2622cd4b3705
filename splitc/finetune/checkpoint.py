# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Checkpoints of fine-tuning: a folder with `state.json` and the safetensors file it names.

The tensors are written first, under a new name; then the JSON file is replaced in one
step. What is read is therefore always a whole checkpoint, the last or the one before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn, optim

from splitc.errors import DataError, OutputError, ToolchainError, UsageError
from splitc.finetune.callbacks import EpochRecord

SCHEMA = 1
STATE = "state.json"


class State(msgspec.Struct, forbid_unknown_fields=True):
    """Where a run is, at the end of an epoch.

    Args:
        run: What must be the same for a run to be gone on with, as text by name.
        stage: Position of the stage.
        epoch: The epoch that ended.
        best: What the stage's best epoch was chosen by, lower better; None before there is one.
        waited: Epochs since.
        history: What was recorded so far.
        file: Name of the file with the tensors.
        schema: Version of this form.
    """

    run: dict[str, str]
    stage: int = 0
    epoch: int = -1
    best: tuple[float, float] | None = None
    waited: int = 0
    history: list[EpochRecord] = []
    file: str = ""
    schema: int = SCHEMA


@dataclass
class Tensors:
    """The tensors that go with a state.

    Args:
        weights: Parameters and buffers now, by name.
        best: Those of the stage's best epoch.
        steps: The optimizer's, as "parameter:name".
    """

    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    steps: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers, by name."""
    return {name: t.detach().clone() for name, t in _tensors(module).items()}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """All of them, buffers that are not saved with the module too."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def put_back(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Write weights into a network in place."""
    with torch.no_grad():
        for name, tensor in _tensors(module).items():
            tensor.copy_(weights[name])


def steps_of(steps: optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The state of an optimizer over parameters of these names."""
    state: dict[Any, dict[str, Any]] = steps.state_dict()["state"]
    return {
        f"{names[i]}:{key}": torch.as_tensor(value).detach().clone()
        for i, values in state.items()
        for key, value in values.items()
        if value is not None
    }


def restore_steps(steps: optim.Optimizer, names: list[str], saved: Mapping[str, Tensor]) -> None:
    """Bring an optimizer into a saved state."""
    state: dict[int, dict[str, Tensor]] = {}
    for label, tensor in saved.items():
        name, _, key = label.rpartition(":")
        state.setdefault(names.index(name), {})[key] = tensor.clone()
    steps.load_state_dict({**steps.state_dict(), "state": state})


def save(folder: Path, state: State, tensors: Tensors) -> None:
    """Write a checkpoint; the one before stays until the new one is whole.

    Raises:
        OutputError: It cannot be written: a full disk, say. The one before is intact.
        ToolchainError: safetensors is not installed.
    """
    store = safetensors()
    flat = {
        f"{part}/{name}": tensor.cpu().contiguous()
        for part, named in vars(tensors).items()
        for name, tensor in named.items()
    }
    state.file = f"stage{state.stage}-epoch{state.epoch}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / state.file, store.save(flat))
        write(folder / STATE, msgspec.json.format(msgspec.json.encode(state), indent=1))
        for old in folder.glob("*.safetensors"):
            if old.name != state.file:
                old.unlink()
    except OSError as error:
        what = "the checkpoint cannot be written"
        hint = f"the last good one stays in {folder}; make room there and resume"
        raise OutputError(what, at=str(folder), why=error.strerror or "", hint=hint) from error


def write(path: Path, data: bytes) -> None:
    """Write a file beside its place, to the disk, then rename it.

    Raises:
        OSError: It cannot be written; what was at the path is intact.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def load(folder: Path, run: Mapping[str, str], module: nn.Module) -> tuple[State, Tensors] | None:
    """Read the checkpoint in a folder; None where there is none.

    Raises:
        UsageError: It is of another run.
        DataError: It is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    store = safetensors()
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
        if state.schema != SCHEMA or Path(state.file).name != state.file:
            raise ValueError(f"schema {state.schema} is not {SCHEMA}")
        found: dict[str, Tensor] = store.load((folder / state.file).read_bytes())
    except (OSError, ValueError, _error()) as error:
        hint = "delete the folder to begin anew"
        raise DataError("the checkpoint is damaged", at=str(folder), why=str(error),
                        hint=hint) from error  # fmt: skip
    for key, value in run.items():
        if state.run.get(key) != value:
            why = f"its {key} is {state.run.get(key, 'unknown'):.200}, not {value:.200}"
            hint = "use the same model, stages and seed, or delete the folder to begin anew"
            raise UsageError(f"the checkpoint is of another run: {key}", at=str(folder),
                             why=why, hint=hint)  # fmt: skip
    tensors = Tensors()
    for label, tensor in found.items():
        part, _, name = label.partition("/")
        getattr(tensors, part)[name] = tensor
    if not {*_tensors(module)} == {*tensors.weights} == {*tensors.best}:
        raise DataError("the checkpoint is damaged", at=str(folder), why="weights are missing")
    return state, tensors


def safetensors() -> Any:
    """The module `safetensors.torch`.

    Raises:
        ToolchainError: It is not installed.
    """
    try:
        import safetensors.torch
    except ImportError as error:
        hint = "pip install 'splitc[torch]'"
        raise ToolchainError(
            "weights are kept with safetensors, which is not installed", why=str(error), hint=hint
        ) from error
    return safetensors.torch


def _error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError
