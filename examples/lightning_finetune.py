# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportMissingImports=false
"""Fine-tuning inside PyTorch Lightning: splitc says what a stage trains, Lightning trains it.

Run it: `python examples/lightning_finetune.py [FOLDER]`. Afterwards `splitc.compile` takes the
model as it takes any. It needs `pip install lightning`.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, cast

import torch
from si_nr import CUT, loaders, network
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import splitc
from splitc.finetune import Stage, optimizer
from splitc.frontend.torch import any_batch
from splitc_passes.training.insert_dropout import InsertDropout


def main(folder: str = ".") -> None:
    """Train a network with dropout at its cut."""
    import lightning

    class Module(lightning.LightningModule):
        """A rewritten network and one stage of its training."""

        def __init__(self, model, stage: Stage) -> None:
            super().__init__()
            self.net, self.stage = any_batch(model), stage

        def configure_optimizers(self):
            """The stage's own."""
            return optimizer(self.stage, self.net)

        def on_train_epoch_start(self) -> None:
            """Frozen parts as at inference, channels on."""
            self.stage.set_modes(self.net)

        def training_step(self, batch, _: int):
            """Cross-entropy behind the lossy link."""
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, _: int) -> None:
            """Accuracy without losses: channels are off in eval mode."""
            right = self.net(batch[0]).argmax(1) == batch[1]
            self.log("accuracy", right.float().mean())

    torch.manual_seed(0)
    # Batches already: a list is a data set to Lightning, of one batch an item.
    train, validate = (cast(Dataset[Any], batches) for batches in loaders())
    model = InsertDropout(cut=CUT, loss_rate=0.3)(splitc.load(network(), torch.zeros(1, 1, 16, 16)))
    stage = Stage("all", epochs=4, learning_rate=1e-3)
    trainer = lightning.Trainer(
        max_epochs=stage.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    module = Module(model, stage)
    with stage.begin(module.net):
        trainer.fit(module, DataLoader(train, None), DataLoader(validate, None))
    print(f"accuracy {float(trainer.callback_metrics['accuracy']):.3f}")


if __name__ == "__main__":
    if importlib.util.find_spec("lightning") is None:
        print("skipped: this example needs Lightning (pip install lightning)")
    else:
        main(*sys.argv[1:])
