# SPDX-License-Identifier: Apache-2.0
"""Times of whole networks that others published for boards, milliseconds, fp32, batch 1.

ncnn: Tencent/ncnn, benchmark/README.md, averages. Tengine: OAID/Tengine, benchmark/README.md.
TFLite with ruy and Arm NN: medians of mlcommons/inference_results_v1.1 (Krai; of the mobile
networks the open division, `singlestream/performance/run_1/mlperf_log_summary.txt`) and v2.0.
XNNPACK: google/XNNPACK, README.md, and Arm's learning path executorch-on-arm. The cards: Arm's on
its model hub, whose fp32 times of ResNet18 are implied by the speed-up that it states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """Published times of one board, runtime and thread count.

    Args:
        board: The board file that predicts them.
        source: Whose they are.
        role: `fitted`: the file's figures are a fit to these times. `held out`: they are not.
        times_ms: Published milliseconds by network.
        one_thread_ms: The same with one thread.
        clock_hz: Where the measured board's clock is not the file's.
        half_fc: Whether the runtime stores fully connected weights in 2 bytes.
        of_family: Whether its networks are of the mobile families, which are told one by one.
    """

    board: str
    source: str
    role: str
    times_ms: Mapping[str, float]
    one_thread_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    clock_hz: float | None = None
    half_fc: bool = True
    of_family: bool = False


COLUMNS = (
    Column(
        "rpi4", "ncnn, Raspberry Pi 4 Model B, 1.8 GHz, 4 threads", "fitted",
        {"squeezenet": 46.7, "mobilenet": 61.2, "mobilenet_v2": 61.9, "shufflenet_v2": 24.6,
         "efficientnet_b0": 74.2, "googlenet": 114.4, "resnet18": 123.1, "alexnet": 76.4,
         "resnet50": 262.8, "vgg16": 547.1},
        {"squeezenet": 74.0, "mobilenet": 124.3, "mobilenet_v2": 93.5, "shufflenet_v2": 42.1,
         "efficientnet_b0": 129.7, "googlenet": 235.9, "resnet18": 191.1, "alexnet": 139.4,
         "resnet50": 534.1, "vgg16": 1071.9},
    ),
    Column(
        "rpi-zero2w", "ncnn, Raspberry Pi Zero 2 W, 1.0 GHz, 4 threads", "fitted",
        {"squeezenet": 119.9, "mobilenet": 163.2, "mobilenet_v2": 147.4, "shufflenet_v2": 64.1,
         "efficientnet_b0": 202.1, "googlenet": 324.5, "resnet18": 353.5, "alexnet": 272.2,
         "resnet50": 782.6},
        {"squeezenet": 240.8, "mobilenet": 393.9, "mobilenet_v2": 274.2, "shufflenet_v2": 129.2,
         "efficientnet_b0": 519.0, "googlenet": 780.4, "resnet18": 654.7, "alexnet": 689.2,
         "resnet50": 1802.8},
    ),
    Column(
        "jetson-nano", "ncnn, NVIDIA Jetson Nano's CPU, 4 threads", "fitted",
        {"squeezenet": 30.59, "mobilenet": 42.05, "mobilenet_v2": 33.83, "shufflenet_v2": 19.71,
         "efficientnet_b0": 70.60, "googlenet": 93.12, "resnet18": 83.44, "alexnet": 89.98,
         "resnet50": 204.08, "vgg16": 447.39},
        {"squeezenet": 86.14, "mobilenet": 137.63, "mobilenet_v2": 93.99, "shufflenet_v2": 48.09,
         "efficientnet_b0": 225.94, "googlenet": 287.11, "resnet18": 221.60, "alexnet": 284.87,
         "resnet50": 624.84, "vgg16": 1242.90},
    ),
    Column(
        "rpi3", "ncnn, Raspberry Pi 3 Model B+, 1.4 GHz, 4 threads", "held out",
        {"squeezenet": 85.2, "mobilenet": 108.7, "mobilenet_v2": 111.7, "shufflenet_v2": 47.2,
         "efficientnet_b0": 135.9, "googlenet": 224.2, "resnet18": 271.9, "alexnet": 159.1,
         "resnet50": 587.4},
    ),
    Column(
        "rpi4", "Tengine, another runtime, Raspberry Pi 4B, 1.5 GHz, 4 threads", "held out",
        {"squeezenet": 41.4, "mobilenet": 54.8, "mobilenet_v2": 66.4, "shufflenet_v2": 20.1,
         "googlenet": 171.6, "resnet18": 158.4, "resnet50": 332.3, "vgg16": 839.3},
        clock_hz=1.5e9,
        half_fc=False,
    ),
    Column(
        "rpi4", "TFLite 2.5 with ruy, Raspberry Pi 4, 1.5 GHz, 4 threads", "held out",
        {"v1-0.25-128": 4.7, "v1-0.25-160": 7.2, "v1-0.25-192": 9.6, "v1-0.25-224": 13.4,
         "v1-0.5-128": 9.6, "v1-0.5-160": 14.6, "v1-0.5-192": 19.2, "v1-0.5-224": 26.2,
         "v1-0.75-128": 18.1, "v1-0.75-160": 26.0, "v1-0.75-192": 34.6, "v1-0.75-224": 45.9,
         "v1-1.0-128": 30.1, "v1-1.0-160": 41.2, "v1-1.0-192": 52.6, "v1-1.0-224": 68.4,
         "v2-0.35-96": 5.7, "v2-0.35-128": 8.4, "v2-0.35-160": 11.8, "v2-0.35-192": 16.6,
         "v2-0.35-224": 21.7, "v2-0.5-96": 6.9, "v2-0.5-128": 10.2, "v2-0.5-160": 15.2,
         "v2-0.5-192": 20.5, "v2-0.5-224": 27.5, "v2-0.75-96": 11.1, "v2-0.75-128": 16.8,
         "v2-0.75-160": 24.5, "v2-0.75-192": 33.0, "v2-0.75-224": 43.7, "v2-1.0-96": 15.7,
         "v2-1.0-128": 22.0, "v2-1.0-160": 31.8, "v2-1.0-192": 42.0, "v2-1.0-224": 55.6,
         "v2-1.3-224": 82.1, "v2-1.4-224": 88.7, "v3-large-minimalistic-1.0": 41.8,
         "v3-small-minimalistic-1.0": 16.4, "v3-large-0.75": 40.0, "v3-small-0.75": 17.7,
         "v3-large-1.0": 52.1, "v3-small-1.0": 20.1, "lite0": 67.7, "lite1": 95.4, "lite2": 128.1,
         "lite3": 192.2, "lite4": 330.1},
        clock_hz=1.5e9, half_fc=False, of_family=True,
    ),
    Column(
        "rpi4", "Arm NN 21.05 and 21.11, Raspberry Pi 4, 1.5 GHz, 4 threads", "held out",
        {"resnet50_v1.5": 295.8, "v2-1.0-224": 55.6},
        clock_hz=1.5e9, half_fc=False,
    ),
    Column(
        "rpi4", "XNNPACK, Raspberry Pi 4, 1.5 GHz, 4 threads", "held out",
        {"v1-1.0-224": 77.0, "v2-1.0-224": 46.0, "v3-large-1.0": 40.0},
        clock_hz=1.5e9, half_fc=False,
    ),
    Column(
        "rpi4", "ncnn, Raspberry Pi 4, 1.8 GHz, 4 threads: what is not in the fit", "held out",
        {"v3-large-1.0": 47.5},
    ),
    Column(
        "rpi5", "XNNPACK and Arm's model cards, fp32, Raspberry Pi 5, 2.4 GHz", "held out",
        {"v2-1.0-224": 10.88, "resnet18": 31.6, "googlenet": 90.8, "squeezenet_1.0": 20.22,
         "wide_resnet50_2": 292.0},
        half_fc=False,
    ),
)  # fmt: skip


def one_thread_ms(board: str, source: str) -> Mapping[str, float]:
    """Published times of one thread, by network; none where there is no such column.

    Args:
        board: Its name.
        source: How the column's begins.
    """
    return {name: ms for each in _of(board, source) for name, ms in each.one_thread_ms.items()}


def four_threads_ms(board: str, source: str) -> Mapping[str, float]:
    """The same of all four cores."""
    return {name: ms for each in _of(board, source) for name, ms in each.times_ms.items()}


def _of(board: str, source: str) -> list[Column]:
    return [each for each in COLUMNS if each.board == board and each.source.startswith(source)]
