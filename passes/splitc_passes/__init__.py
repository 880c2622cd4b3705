# SPDX-License-Identifier: Apache-2.0
"""The passes and cut algorithms that come with splitc."""

from splitc.plugins import Plugin

PLUGIN = Plugin(
    passes={
        "add-noise-bottleneck": "splitc_passes.training.add_noise_bottleneck:AddNoiseBottleneck",
        "distill-head": "splitc_passes.training.distill_head:DistillHead",
        "group-blocks": "splitc_passes.analyses.group_blocks:GroupBlocks",
        "huffman-boundary": "splitc_passes.codecs.huffman_boundary:HuffmanBoundary",
        "insert-bottleneck": "splitc_passes.codecs.insert_bottleneck:InsertBottleneck",
        "insert-dropout": "splitc_passes.training.insert_dropout:InsertDropout",
        "jpeg-boundary": "splitc_passes.codecs.jpeg_boundary:JpegBoundary",
        "quantize-boundary": "splitc_passes.codecs.quantize_boundary:QuantizeBoundary",
        "find-min-cut": "splitc_passes.cutters.find_min_cut:FindMinCut",
    },
    cutters={
        "dads-heavy": "splitc_passes.cutters.dads_heavy:DadsHeavy",
        "early-exits": "splitc_passes.cutters.early_exits:EarlyExits",
        "edgent": "splitc_passes.cutters.edgent:Edgent",
        "i-split": "splitc_passes.cutters.i_split:ISplit",
        "min-cut": "splitc_passes.cutters.min_cut:MinCut",
        "neurosurgeon": "splitc_passes.cutters.neurosurgeon:Neurosurgeon",
        "qdmp": "splitc_passes.cutters.qdmp:Qdmp",
        "sites": "splitc_passes.cutters.sites:Sites",
    },
    recipes={
        "bottlenetpp": "splitc_passes.recipes.bottlenetpp:BottleNetPP",
        "distill-head": "splitc_passes.recipes.distill_head:Distil",
        "si-nr": "splitc_passes.recipes.si_nr:SiNr",
    },
    kinds={
        **dict.fromkeys(("jpeg_encode", "jpeg_decode", "huffman_encode", "huffman_decode"), "move"),
        **dict.fromkeys(
            (
                "link_dropout", "packet_loss", "element_loss", "burst_loss", "trace_loss", "awgn",
                "bit_erasure", "variational_noise",
            ),
            "channel",
        ),
    },
)  # fmt: skip
