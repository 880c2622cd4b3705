# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of rewritten networks, in stages that can be stopped and resumed.

from splitc.finetune import Stage, fine_tune

model = InsertDropout(cut="layer2", loss_rate=0.2)(splitc.load(module, example))
tuned = fine_tune(model, [Stage("all", epochs=10)], train_loader, validation_loader)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.lazy_names import lazy_names, listed_names

if TYPE_CHECKING:
    from splitc.finetune.callbacks import Callback, EpochRecord
    from splitc.finetune.loop import Tuned, fine_tune
    from splitc.finetune.stage import Stage, optimizer

__all__ = ["Callback", "EpochRecord", "Stage", "Tuned", "fine_tune", "optimizer"]

__getattr__ = lazy_names(__name__, {
    "Callback": "callbacks",
    "EpochRecord": "callbacks",
    "Stage": "stage",
    "Tuned": "loop",
    "fine_tune": "loop",
    "optimizer": "stage",
})  # fmt: skip

__dir__ = listed_names(__name__)
