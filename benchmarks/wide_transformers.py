# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportCallIssue=false
"""Networks of the transformers library, from their configurations: weights random, seeded.

`pip install transformers`; nothing is downloaded. Each is of the published size that its comment
names, and exported as its users export it: by `torch.onnx.export`, at opset 18.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers  # pyright: ignore[reportMissingImports]
from onnx import ModelProto, load_model_from_string
from torch import Tensor, nn

OPSET = 18
TOKENS = 128
"""Of a text."""
SAMPLES = 16000
"""Of sound, a second."""


class Results(nn.Module):
    """Some results of a network, in the place of the object that it gives.

    Args:
        network: Of transformers.
        inputs: What the network calls what it is given.
        results: What it calls what is taken of its results.
    """

    def __init__(self, network: nn.Module, inputs: list[str], results: list[str]) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.results = results

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """The results, one after the other."""
        made = self.network(**dict(zip(self.inputs, given, strict=True)))
        return tuple(made[name] for name in self.results)


Made = tuple[Results, list[Tensor]]
"""A network and the inputs of a call."""


def text(network: nn.Module) -> Made:
    """A classifier of texts."""
    tokens = torch.arange(TOKENS)[None] * 37 % 1000
    return Results(network, ["input_ids", "attention_mask"], ["logits"]), [
        tokens, torch.ones_like(tokens),
    ]  # fmt: skip


def image(network: nn.Module, size: int, *results: str) -> Made:
    """A network over images of so many pixels a side."""
    taken = Results(network, ["pixel_values"], [*results] or ["logits"])
    return taken, [torch.randn(1, 3, size, size)]


def bert_tiny() -> Made:
    """prajjwal1/bert-tiny: 2 layers of width 128."""
    config = transformers.BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512,
    )  # fmt: skip
    return text(transformers.BertForSequenceClassification(config))


def distilbert() -> Made:
    """distilbert-base-uncased: 6 layers of width 768."""
    return text(transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig()))


def vit() -> Made:
    """ViT-S/16: 12 layers of width 384."""
    config = transformers.ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=1000
    )
    return image(transformers.ViTForImageClassification(config), 224)


def deit() -> Made:
    """deit-tiny-distilled: 12 layers of width 192, two tokens before the patches."""
    config = transformers.DeiTConfig(
        hidden_size=192, num_attention_heads=3, intermediate_size=768, num_labels=1000
    )
    return image(transformers.DeiTForImageClassificationWithTeacher(config), 224)


def swin() -> Made:
    """swin-tiny-patch4-window7-224."""
    return image(
        transformers.SwinForImageClassification(transformers.SwinConfig(num_labels=1000)), 224
    )


def convnext() -> Made:
    """convnext-tiny-224."""
    config = transformers.ConvNextConfig(num_labels=1000, layer_scale_init_value=0.1)
    return image(transformers.ConvNextForImageClassification(config), 224)


def segformer() -> Made:
    """segformer-b0-finetuned-ade-512-512."""
    config = transformers.SegformerConfig(num_labels=150)
    return image(transformers.SegformerForSemanticSegmentation(config), 512)


def detr() -> Made:
    """detr-resnet-50, on images of 320 pixels a side: its backbone is of transformers too."""
    backbone = transformers.ResNetConfig(out_features=["stage4"])
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=backbone, num_labels=91,
    )  # fmt: skip
    return image(transformers.DetrForObjectDetection(config), 320, "logits", "pred_boxes")


def whisper() -> Made:
    """The encoder of whisper-tiny: 4 layers of width 384 over 30 s of sound."""
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536
    )
    network = transformers.WhisperModel(config).get_encoder()
    taken = Results(network, ["input_features"], ["last_hidden_state"])
    return taken, [torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions)]


def wav2vec2() -> Made:
    """wav2vec2-base: 12 layers of width 768 behind seven convolutions."""
    network = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config())
    return Results(network, ["input_values"], ["logits"]), [torch.randn(1, SAMPLES)]


def mobilevit() -> Made:
    """mobilevit-small, on images of 256 pixels a side."""
    config = transformers.MobileViTConfig(num_labels=1000)
    return image(transformers.MobileViTForImageClassification(config), 256)


MAKERS: dict[str, Callable[[], Made]] = {
    "bert-tiny": bert_tiny, "distilbert": distilbert, "vit": vit, "deit": deit, "swin": swin,
    "convnext": convnext, "segformer": segformer, "detr": detr, "whisper-encoder": whisper,
    "wav2vec2": wav2vec2, "mobilevit": mobilevit,
}  # fmt: skip


def module(name: str) -> Made:
    """A network by its name, to be run, and the inputs of a call."""
    torch.manual_seed(0)
    network, inputs = MAKERS[name]()
    # The library's own start has what a network computes fade away from layer to layer.
    for each in network.modules():
        if isinstance(each, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            gain = "linear" if isinstance(each, nn.Linear) else "relu"
            nn.init.kaiming_normal_(each.weight, nonlinearity=gain)
    return network.eval(), inputs


def exported(name: str) -> ModelProto:
    """A network by its name, as ONNX."""
    network, inputs = module(name)
    stored = io.BytesIO()
    with torch.no_grad():
        program: Any = torch.onnx.export(
            network, tuple(inputs), input_names=network.inputs, opset_version=OPSET,
            dynamo=True, verbose=False,
        )  # fmt: skip
    program.save(stored)
    return load_model_from_string(stored.getvalue())


TRANSFORMERS: dict[str, Callable[[], ModelProto]] = {
    name: partial(exported, name) for name in MAKERS
}
"""What makes each network, by its name."""
