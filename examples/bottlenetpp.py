# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""BottleNet++: put a learned codec into a network of your own, train it, compile it.

Run it: `python examples/bottlenetpp.py [FOLDER]`. The same from the shell, on this file:

    splitc finetune examples/bottlenetpp.py:model --data examples/bottlenetpp.py:loaders \
        --recipe 'bottlenetpp(channels=2, base_epochs=5)' --cut 2
    splitc compile model.tuned --target rpi4
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from si_nr import loaders, network

import splitc
from splitc_passes.recipes.bottlenetpp import BottleNetPP


def model() -> tuple[torch.nn.Module, torch.Tensor]:
    """The network and an example of its input."""
    return network(), torch.zeros(1, 1, 16, 16)


def main(folder: str = ".") -> None:
    """Train the network, then a codec for it; compile head with encoder, tail with decoder."""
    torch.manual_seed(0)
    train, validate = loaders()
    loaded = splitc.load(*model())
    recipe = BottleNetPP(
        channels=2, cut="2", channel="awgn", psnr_db=20.0, base_epochs=5, codec_epochs=6,
        codec_learning_rate=5e-3, everything_epochs=2, learning_rate=1e-4,
    )  # fmt: skip
    tuned = recipe.tune(loaded, train, validate)
    for record in tuned.history:
        if record.best:
            print(f"{record.stage:>10} epoch {record.epoch}: accuracy {record.metric:.3f}")

    cut = tuned.model.cut
    assert cut is not None
    whole = splitc.Cut.after(loaded.graph, ["2"])
    assert whole.boundary_bytes
    assert cut.boundary_bytes
    print(f"{whole.boundary_bytes} bytes cross without the codec, {cut.boundary_bytes} with it: "
          f"{whole.boundary_bytes / cut.boundary_bytes:.0f} times fewer")  # fmt: skip

    bundle = splitc.compile(
        tuned.model, cut="auto", head="host", tail="host", name="bottlenetpp",
        output=Path(folder) / "bottlenetpp.splitc",
    )  # fmt: skip
    print(f"compiled and verified: {bundle.verify().passed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
