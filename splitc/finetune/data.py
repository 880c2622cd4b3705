# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Batches of training data: how they are read, and what is refused before training begins."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splitc.errors import DataError, nearest, one_line
from splitc.frontend.torch.trace import FAILURES
from splitc.ir.graph import Tensor as GraphTensor

Batches = Iterable[tuple[Any, Any]] | Callable[[int], Iterable[tuple[Any, Any]]]
"""Batches (inputs, targets) that can be read again, or a function that gives an epoch's."""

BROKEN = (*FAILURES, OSError, EOFError, ImportError)
"""What a data function raises when it cannot go on."""


def read(data: Batches, which: str, epoch: int) -> Iterator[Any]:
    """The batches of an epoch.

    Args:
        data: A list, a `DataLoader`, or a function of the epoch that gives one.
        which: "train" or "validate", for errors.
        epoch: Its number, from 1.

    Raises:
        DataError: It gives no batches, or gives them only once, or fails.
    """
    try:
        found: Any = data if hasattr(data, "__iter__") or not callable(data) else data(epoch)
        if not hasattr(found, "__iter__"):
            why = f"it is of type {type(found).__name__}"
            raise DataError(f"{which} gives no batches", why=why, hint=_HINT)
        if found is data and iter(found) is found:
            why = f"its batches can be read only once: it is of type {type(found).__name__}"
            raise DataError(f"{which} cannot be read at every epoch", why=why, hint=_HINT)
        yield from found
    except BROKEN as error:
        raise DataError(f"{which} fails", at=place(error), why=described(error)) from error


_HINT = "give a list of batches, a DataLoader, or a function of the epoch that returns one"


def count(data: Batches) -> int | None:
    """How many batches an epoch has; None where that is not known before."""
    try:
        return len(data)  # pyright: ignore[reportArgumentType]
    except TypeError:
        return None


def place(error: BaseException) -> str:
    """File and line of the user's code that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def described(error: BaseException) -> str:
    """An error's message in one line, its class before it where it says little."""
    text = one_line(error)
    return text if " " in text else f"{type(error).__name__}: {text}"


def split(
    batch: Any, which: str, entries: Sequence[GraphTensor], device: torch.device
) -> tuple[list[Tensor], Any]:
    """A batch as the network's inputs [N, ...], and the targets; both on the device.

    Args:
        batch: (inputs, targets); inputs a tensor, several in order, or a mapping by name.
        which: "train" or "validate", for errors.
        entries: The network's inputs.
        device: Where the network is.

    Raises:
        DataError: It is something else, or does not have the network's shapes and types.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        shown = f"{len(batch)} values" if isinstance(batch, tuple | list) else _kind(batch)
        why = f"a batch is {shown}, not (inputs, targets)"
        raise DataError(f"{which} gives the wrong thing", why=why)
    given, targets = batch
    if isinstance(given, Mapping):
        given = [_named(given, e.name, which) for e in entries]
    values: list[Any] = list(given) if isinstance(given, tuple | list) else [given]
    if len(values) != len(entries):
        names = ", ".join(e.name for e in entries)
        why = f"the network takes {len(entries)}: {names}"
        raise DataError(f"{which} gives {len(values)} inputs", why=why)
    inputs = [_checked(v, e, which) for v, e in zip(values, entries, strict=True)]
    for one, entry in zip(inputs, entries, strict=True):
        if one.shape[0] != inputs[0].shape[0] or not one.shape[0]:
            why = f"'{entries[0].name}' has {inputs[0].shape[0]}"
            raise DataError(f"{which}: '{entry.name}' has {one.shape[0]} samples", why=why)
    return [one.to(device) for one in inputs], moved(targets, device)


def _named(given: Mapping[Any, Any], name: str, which: str) -> Any:
    if name not in given:
        hint = nearest(name, [str(key) for key in given])
        raise DataError(f"{which} gives no input '{name}'", hint=hint)
    return given[name]


def _checked(value: Any, entry: GraphTensor, which: str) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, Tensor):
        raise DataError(f"{which}: input '{entry.name}' is no tensor", why=f"it is {_kind(value)}")
    wanted = entry.static_shape[1:]
    dtype = str(value.dtype).removeprefix("torch.")
    if value.dim() and tuple(value.shape[1:]) == wanted and dtype == entry.dtype:
        return value
    given = "x".join(map(str, value.shape))
    hint = ""
    if tuple(value.shape[1:]) == (*wanted[1:], *wanted[:1]):
        hint = "its channels are last: x.permute(0, 3, 1, 2)"
    elif tuple(value.shape) == wanted:
        hint = "it has no batch extent: x.unsqueeze(0)"
    elif dtype != entry.dtype:
        hint = f"x.to(torch.{entry.dtype}), scaled as in training"
    raise DataError(
        f"{which}: input '{entry.name}' is {given or 'a scalar'} {dtype}",
        why=f"the network takes {'x'.join(['N', *map(str, wanted)])} {entry.dtype}", hint=hint,
    )  # fmt: skip


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def moved(value: Any, device: torch.device) -> Any:
    """Targets on the device, tensors in tuples, lists and mappings too."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        return type(value)(moved(each, device) for each in value)
    if isinstance(value, Mapping):
        return {key: moved(each, device) for key, each in value.items()}
    return value
