# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Networks over sequences, in the forms that people run them in, weights seeded."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VoiceDetector(nn.Module):
    """Is somebody speaking in a stretch of sound? Of the kind of Silero's VAD: 512 samples a call.

    A short-time Fourier transform as a convolution, its magnitudes, four convolutions, an LSTM of
    one step whose state the caller hands on from call to call, a probability.
    """

    def __init__(self, units: int = 64) -> None:
        super().__init__()
        self.transform = nn.Conv1d(1, 2 * 129, 256, 128, bias=False)
        widths = (129, 128, 64, 64, units)
        self.encoder = nn.Sequential(
            *(
                layer
                for k, stride in enumerate((1, 2, 2, 1))
                for layer in (nn.Conv1d(widths[k], widths[k + 1], 3, stride, 1), nn.ReLU())
            )
        )
        self.lstm = nn.LSTM(units, units)
        self.decoder = nn.Conv1d(units, 1, 1)

    def forward(self, sound: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[1, 1, 512] and two states [1, 1, units]; the probability and the states after it."""
        real, imaginary = self.transform(nn.functional.pad(sound, (64, 64))).chunk(2, 1)
        heard = self.encoder(torch.sqrt(real * real + imaginary * imaginary))
        found, (h, c) = self.lstm(heard.mean(2).unsqueeze(0), (h, c))
        return torch.sigmoid(self.decoder(torch.relu(found).permute(1, 2, 0))), h, c

    def examples(self) -> list[Tensor]:
        """Inputs of a call."""
        units = self.lstm.hidden_size
        return [torch.randn(1, 1, 512), torch.zeros(1, 1, units), torch.zeros(1, 1, units)]


class TemporalBlock(nn.Module):
    """Two dilated convolutions that look back, around which a sum goes."""

    def __init__(self, into: int, out: int, dilation: int) -> None:
        super().__init__()
        self.back = 2 * dilation
        self.first = nn.Conv1d(into, out, 3, dilation=dilation)
        self.second = nn.Conv1d(out, out, 3, dilation=dilation)
        self.around = nn.Conv1d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, steps], of as many steps."""
        y = torch.relu(self.first(nn.functional.pad(x, (self.back, 0))))
        y = torch.relu(self.second(nn.functional.pad(y, (self.back, 0))))
        return torch.relu(y + self.around(x))


class TemporalConvolutions(nn.Module):
    """A temporal convolutional network (Bai, Kolter, Koltun, arXiv:1803.01271)."""

    def __init__(self, channels: int = 9, width: int = 32, classes: int = 6) -> None:
        super().__init__()
        blocks = [TemporalBlock(channels if k == 0 else width, width, 1 << k) for k in range(5)]
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(width, classes)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, steps]; the classes' scores at the last step."""
        return self.classify(self.blocks(x)[:, :, -1])

    def examples(self) -> list[Tensor]:
        """Inputs of a call."""
        return [torch.randn(1, self.channels, 128)]


def voice_detector() -> VoiceDetector:
    """The detector with seeded weights."""
    torch.manual_seed(0)
    return VoiceDetector().eval()


def temporal_convolutions() -> TemporalConvolutions:
    """The network with seeded weights."""
    torch.manual_seed(0)
    return TemporalConvolutions().eval()
