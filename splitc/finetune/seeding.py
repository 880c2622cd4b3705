# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Random numbers of fine-tuning: every epoch's follow from the seed, the stage and its number."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

_KEPT = frozenset(vars(nn.Module())) | {"_generators", "on", "seed"}
"""What is no setting of a channel."""


def seed_of(*parts: int) -> int:
    """A seed for a part of the run, unlike those of all others."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def seed_all(seed: int, module: nn.Module, data: Any) -> None:
    """Seed PyTorch, NumPy, Python, the channels of a network, and a loader's own generator."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    for i, channel in enumerate(channels(module)):
        channel.reseed(seed_of(seed, i))
    for holder in (data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)):
        own = getattr(holder, "generator", None)
        if isinstance(own, torch.Generator):
            own.manual_seed(seed)


def channels(module: nn.Module) -> Iterator[Any]:
    """The modules of a network that stand for the link, in order."""
    return (m for m in module.modules() if hasattr(m, "transmit") and hasattr(m, "reseed"))


@contextmanager
def kept_random_state(device: torch.device, module: nn.Module) -> Generator[None]:
    """Give back the random states of PyTorch, NumPy and Python, and the channels' seeds."""
    seeds = [(each, each.seed) for each in channels(module)]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        for each, seed in seeds:
            each.reseed(seed)


@contextmanager
def kept_conditions(module: nn.Module) -> Generator[None]:
    """Give back the settings of a network's channels, which a stage may vary."""
    before = [(each, _settings(each)) for each in channels(module)]
    try:
        yield
    finally:
        for each, settings in before:
            vars(each).update(settings)


def _settings(channel: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(channel).items() if key not in _KEPT}


@contextmanager
def seeded_channels(module: nn.Module, seed: int, *, on: bool) -> Generator[None]:
    """Channels on or off whatever the mode, with their own sequence; afterwards as before."""
    before = [(each, each.on, each.seed) for each in channels(module)]
    for i, (each, _, _) in enumerate(before):
        each.on = on
        each.reseed(seed_of(seed, i))
    try:
        yield
    finally:
        for each, was_on, was_seed in before:
            each.on = was_on
            each.reseed(was_seed)
