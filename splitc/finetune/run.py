# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The loop of fine-tuning: stages, epochs, batches, and where a run is."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn, optim

from splitc.errors import DataError, OutputError, SplitcError, TrainingError
from splitc.finetune import checkpoint as store
from splitc.finetune.callbacks import Callback, EpochRecord
from splitc.finetune.checkpoint import State, Tensors
from splitc.finetune.data import Batches, count, described, read, split
from splitc.finetune.losses import loss_of, metric_of, penalty, refuse_targets
from splitc.finetune.seeding import kept_conditions, seed_all, seed_of, seeded_channels
from splitc.finetune.stage import LINK, Stage, optimizer
from splitc.frontend.torch.batch import any_batch
from splitc.frontend.torch.model import TorchModel
from splitc.frontend.torch.trace import FAILURES, as_at_inference, graph_module


@dataclass
class Run:
    """A run of `fine_tune`, which says what the fields are."""

    model: TorchModel
    stages: list[Stage]
    train: Batches
    validate: Batches
    seed: int
    folder: Path | None
    callbacks: list[Callback]
    precision: str = "float32"
    state: State = field(init=False)
    tensors: Tensors = field(default_factory=Tensors)

    def __post_init__(self) -> None:
        self.net = any_batch(self.model)
        self.bare = without_link(self.net) if any(s.without_link for s in self.stages) else self.net
        self.identity = {
            "network": hashlib.sha256(str(self.model.graph).encode()).hexdigest(),
            "seed": str(self.seed),
            "precision": self.precision,
            "stages": "; ".join(str(stage.described()) for stage in self.stages),
        }
        self.state = State(self.identity)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((p.device for p in self.net.parameters()), torch.device("cpu"))

    def module(self, stage: Stage) -> fx.GraphModule:
        """The network that a stage trains."""
        return self.bare if stage.without_link else self.net

    def begin(self, resume: bool) -> None:
        """Check all stages and the first batches, and read the checkpoint."""
        for stage in self.stages:
            stage.parameters(self.module(stage))
            loss_of(stage, self.model.graph)
        self._check("train", self.train, 1)
        self._check("validate", self.validate, 0)
        if self.folder is None:
            return
        found = store.load(self.folder, self.identity, self.net) if resume else None
        if found is not None:
            self.state, self.tensors = found
            store.put_back(self.net, self.tensors.weights)
        elif (self.folder / store.STATE).exists():
            hint = "resume=True (--resume) goes on with it; delete the folder to begin anew"
            raise OutputError("there is a checkpoint already", at=str(self.folder), hint=hint)

    def _check(self, which: str, data: Batches, epoch: int) -> None:
        for batch in read(data, which, epoch):
            inputs, targets = split(batch, which, self.model.graph.inputs, self.device)
            with as_at_inference(self.net), seeded_channels(self.net, 0, on=False):
                results = _alone(self.net(*inputs))
            for stage in self.stages:
                refuse_targets(stage, results, targets, which)
            return
        raise DataError(f"{which} is empty", why="there is no batch in it")

    def go(self) -> None:
        """Every stage from where the run is."""
        for index in range(self.state.stage, len(self.stages)):
            if index > self.state.stage:
                self.state.stage, self.state.epoch = index, -1
                self.state.best, self.state.waited = None, 0
                self.tensors = Tensors()
            if self.stages[index].epochs:
                self._stage(self.stages[index])

    def _stage(self, stage: Stage) -> None:
        net = self.module(stage)
        with stage.begin(net) as parameters:
            steps, names = optimizer(stage, net), list(parameters)
            if self.tensors.steps:
                store.restore_steps(steps, names, self.tensors.steps)
            for each in self.callbacks:
                each.on_stage_start(stage, net, count(self.train))
            try:
                while self._goes_on(stage):
                    self._epoch(stage, steps, names)
            except SplitcError:
                if self.tensors.best:
                    store.put_back(self.net, self.tensors.best)
                raise
            finally:
                steps.zero_grad(set_to_none=True)
            if stage.keep == "best":
                store.put_back(self.net, self.tensors.best)

    def _goes_on(self, stage: Stage) -> bool:
        waited = stage.patience and self.state.waited >= stage.patience
        return self.state.epoch < stage.epochs and not waited

    def _epoch(self, stage: Stage, steps: optim.Optimizer, names: list[str]) -> None:
        """Train (epoch 0 only validates), validate, record, save."""
        begun, epoch, net = time.monotonic(), self.state.epoch + 1, self.module(stage)
        loss = self._train(stage, net, steps, epoch) if epoch else None
        validation, metric = self._validate(stage, net, epoch)
        # the metric first, and among epochs of the same the loss
        value = (validation, metric) if metric_of(stage) is None else (-metric, validation)
        best = self.state.best is None or value < self.state.best
        record = EpochRecord(
            stage.name, epoch, loss, validation, metric, best,
            stage.rate(epoch) if epoch else 0.0, time.monotonic() - begun,
        )  # fmt: skip
        self.state.epoch = epoch
        self.state.history.append(record)
        self.state.waited = 0 if best else self.state.waited + 1
        if best:
            self.state.best = value
            self.tensors.best = store.weights_of(self.net)
        for each in self.callbacks:
            if best:
                each.on_best(record, net)
            each.on_epoch_end(record, net)
        if self.folder is not None:
            self.tensors.weights = store.weights_of(self.net)
            self.tensors.steps = store.steps_of(steps, names)
            store.save(self.folder, self.state, self.tensors)
            for each in self.callbacks:
                each.on_checkpoint(self.folder, record)

    def _train(
        self, stage: Stage, net: fx.GraphModule, steps: optim.Optimizer, epoch: int
    ) -> float:
        seed = seed_of(self.seed, self.state.stage, epoch)
        seed_all(seed, net, self.train)
        conditions = torch.Generator().manual_seed(seed)
        loss_function = loss_of(stage, self.model.graph)
        batches = count(self.train)
        stage.set_modes(net)
        total = samples = 0.0
        with kept_conditions(net):
            for number, (inputs, targets) in self._batches(self.train, "train", epoch):
                where = f"stage '{stage.name}', epoch {epoch}, batch {number}"
                for group in steps.param_groups:
                    group["lr"] = stage.rate(epoch, (number - 1) / batches if batches else 0.0)
                if stage.vary is not None:
                    stage.vary(net, conditions)
                steps.zero_grad(set_to_none=True)
                with _named(where), self._casting():
                    loss = loss_function(_alone(net(*inputs)), targets) + penalty(net)
                value = _finite(loss, where)
                with _named(where):
                    loss.backward()
                steps.step()
                total += value * len(inputs[0])
                samples += len(inputs[0])
                for each in self.callbacks:
                    each.on_batch_end(stage, epoch, number, value)
        return total / samples

    def _validate(self, stage: Stage, net: fx.GraphModule, epoch: int) -> tuple[float, float]:
        """Validation loss and metric, means over the samples; on the same losses each epoch."""
        loss_function, metric = loss_of(stage, self.model.graph), metric_of(stage)
        where = f"validation in stage '{stage.name}', epoch {epoch}"
        losses = metrics = samples = 0.0
        seed = seed_of(self.seed, self.state.stage, 0)
        seed_all(seed, net, self.validate)
        _eval(net)
        with torch.no_grad(), seeded_channels(net, seed, on=stage.validate_on_channel):
            for _, (inputs, targets) in self._batches(self.validate, "validate", 0):
                with _named(where), self._casting():
                    results = _alone(net(*inputs))
                    losses += float(loss_function(results, targets)) * len(inputs[0])
                    if metric is not None:
                        metrics += float(metric(results, targets)) * len(inputs[0])
                samples += len(inputs[0])
        loss = _finite(losses / samples, where)
        return loss, loss if metric is None else _finite(metrics / samples, where)

    def _casting(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def _batches(
        self, data: Batches, which: str, epoch: int
    ) -> Iterator[tuple[int, tuple[list[Tensor], Any]]]:
        for number, batch in enumerate(read(data, which, epoch), 1):
            yield number, split(batch, which, self.model.graph.inputs, self.device)


@contextmanager
def _named(where: str) -> Generator[None]:
    """Say where the network or a loss of the user's own failed."""
    try:
        yield
    except FAILURES as error:
        raise TrainingError("a batch fails", at=where, why=described(error)) from error


def _alone(results: Any) -> Any:
    """The one result of a network that gives a tuple of one, as exported programs do."""
    return results[0] if isinstance(results, tuple | list) and len(results) == 1 else results


def _eval(module: nn.Module) -> None:
    for each in module.modules():
        each.training = False


def _finite(loss: Tensor | float, where: str) -> float:
    value = float(loss.detach() if isinstance(loss, Tensor) else loss)
    if not math.isfinite(value):
        hint = "lower the learning rate; look for such numbers in the data"
        raise TrainingError(f"the loss is {value:g}", at=where, hint=hint)
    return value


def without_link(module: fx.GraphModule) -> fx.GraphModule:
    """The network without what passes inserted; weights stay shared."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    for node in list(graph.nodes):
        if node.op == "call_module" and str(node.target).startswith(LINK):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    return graph_module(module, graph, type(module).__name__)
