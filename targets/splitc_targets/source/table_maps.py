# SPDX-License-Identifier: Apache-2.0
"""Convolutions, pools, normalisations, attention, resizing and recurrent layers."""

from __future__ import annotations

from splitc_targets.source.draft import Node
from splitc_targets.source.forms_resize import corners_meet
from splitc_targets.source.forms_windows import dilated_pool
from splitc_targets.source.recurrent import described, fits
from splitc_targets.source.rules import (
    FLOATS,
    OURS,
    TVM,
    WIDE,
    Operator,
    only,
    op,
    refused,
    stored,
)

_DILATED = "onnx counts dilations where a pool pads by itself, others do not"
_OLD_TRAINING = "before opset 14 more results mean training, with other statistics"


_DEFORMED = "maps of other than two axes"


def _deformed(_: Node) -> str:
    return _DEFORMED


def _conv(node: Node) -> str:
    shape = node.shape()
    if shape is not None and not 3 <= len(shape) <= 5:
        return f"it is over {len(shape) - 2} axes, and TVM knows one to three"
    if dilated_pool(node):
        return _DILATED
    auto = node.given.get("auto_pad", "NOTSET")
    return "" if auto == "NOTSET" else f"auto_pad={auto} of a map without a fixed shape"


def _transposed(node: Node) -> str:
    if "output_shape" in node.given:
        return "its output_shape is longer than its strides can reach"
    return _conv(node)


def _unshaped(_: Node) -> str:
    return "its operand or result has no fixed shape"


def _batch(node: Node) -> str:
    if node.given.get("training_mode"):
        return "training mode on other than float32"
    if node.draft.was < 14 and any(node.reads(k) for k in range(1, 5)):
        return _OLD_TRAINING
    types = {node.dtype(k) for k in range(5)}
    return "" if len(types) == 1 else "its types differ"


def _group(node: Node) -> str:
    shape = node.shape()
    return "" if shape is not None and len(shape) >= 3 else "its operand has no map"


def _root(node: Node) -> str:
    shape = node.shape()
    if shape is None:
        return "its operand has no fixed shape"
    last = node.given.get("axis", -1) % len(shape) == len(shape) - 1
    return "" if last and node.shape(1) == shape[-1:] else "several axes of other than floats"


def _response(node: Node) -> str:
    shape, size = node.shape(), node.given["size"]
    fits = shape is not None and len(shape) in (3, 4) and size % 2 == 1
    return "" if fits else "its operand has no fixed shape"


def _pooled(node: Node) -> str:
    return _DILATED if dilated_pool(node) else _unshaped(node)


def _sampled(node: Node) -> str:
    shape, mode = node.shape(), node.given.get("mode", "linear")
    if shape is None or len(shape) not in (4, 5):
        return "TVM samples maps of two or three axes"
    cubic = len(shape) == 5 and mode in ("cubic", "bicubic")
    return "TVM samples maps of three axes in lines only" if cubic else ""


def _resized(node: Node) -> str:
    given, shape, result = node.given, node.shape(), node.result_shape()
    if shape is None or result is None or len(shape) not in (3, 4, 5):
        return "TVM resizes maps of one to three axes and of fixed shape"
    if any(node.input(k) and node.value(k) is None for k in (1, 2, 3)):
        return "its scales, sizes or region are computed"
    if shape[:2] != result[:2]:
        return "it resizes batch or channels of other than floats"
    if corners_meet(node):
        return "one place from corner to corner, of other than floats"
    if given.get("mode") == "cubic" and node.dtype() not in FLOATS:
        return "cubic on integers is rounded otherwise"
    mode = given.get("coordinate_transformation_mode", "half_pixel")
    if mode not in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        return f"coordinate_transformation_mode={mode} of other than floats"
    scales = node.value(2)
    if scales is None or not scales.size:
        return ""
    lengths = [n * float(s) for n, s in zip(shape, scales.ravel(), strict=False)]
    if any(abs(n - round(n)) > 1e-3 for n in lengths):
        return "its scales give no whole extents, and from corner to corner is then not one length"
    return ""


def _regions(node: Node) -> str:
    given = node.given
    default = "half_pixel" if node.draft.opset >= 16 else "output_half_pixel"
    half = given.get("coordinate_transformation_mode", default) == "half_pixel"
    scaled = half and given.get("spatial_scale", 1.0) != 1.0
    return "half pixels of a scaled map" if scaled else ""


def _bodiless(_: Node) -> str:
    return "onnx's function for it is not known for these types or shapes"


def _unconverted(_: Node) -> str:
    return "onnx's version converter knows no way to opset 13"


def _recurrent(node: Node) -> str:
    given = range(len(node.proto.input))
    if any(node.input(k) and node.shape(k) is None for k in given):
        return "its operands have no fixed shape"
    try:
        ways = len(described(node.op, node.given))
    except ValueError as error:
        return f"{error}: it is none that splitc knows"
    shapes = [node.shape(k) for k in given]
    first = bool(node.given.get("layout", 0))
    together = len(shapes) > 2 and fits(node.op, ways, shapes, batch_first=first)
    return "" if together else "its weights and states are not of the sizes of its gates"


_window = ("auto_pad", "kernel_shape", "pads", "strides", "dilations")
_cells = ("activation_alpha", "activation_beta", "activations", "clip", "direction",
          "hidden_size", "layout")  # fmt: skip
_states = dict.fromkeys(("B", "sequence_lens", "initial_h"), OURS)
_cell_states = _states | dict.fromkeys(("initial_c", "P"), OURS)
_given = dict.fromkeys(("Y", "Y_h"), OURS)
_SINGLE = ("float16", "float32")
_CELLS = "activations that onnx does not name"


def _counted(node: Node) -> str:
    """Only what fills its rows up may read it, behind which its readers are (bounded.py)."""
    readers = [each for each in node.draft.nodes if node.output(0) in each.input]
    if all(each.op_type == "Concat" for each in readers):
        return ""
    return "how many boxes it keeps depends on values, and code is made for fixed shapes"


MAPS: dict[str, Operator] = {
    "AffineGrid": op("TVM", "align_corners", inputs={"size": stored("TVM")}, types=FLOATS),
    "Attention": op(
        "splitc", "is_causal", "kv_num_heads", "q_num_heads", "left_window_size",
        "right_window_size", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision",
        inputs=dict.fromkeys(("attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"), OURS),
        outputs=dict.fromkeys(("present_key", "present_value", "qk_matmul_output"), OURS),
        check=_bodiless,
    ),
    "AveragePool": op(
        "TVM", "kernel_shape", "pads", "strides", "dilations", "ceil_mode", "count_include_pad",
        attributes={"auto_pad": OURS}, types=FLOATS, check=_conv,
    ),
    "BatchNormalization": op(
        "TVM", "epsilon", "momentum",
        attributes={
            "spatial": only(1, why="statistics of each place"), "training_mode": OURS,
        },
        outputs={
            "mean": OURS, "var": OURS, "running_mean": OURS, "running_var": OURS,
            "saved_mean": refused(_OLD_TRAINING), "saved_var": refused(_OLD_TRAINING),
        },
        types=FLOATS, check=_batch, note="training mode of float16, parameters of other types",
    ),
    "CausalConvWithState": op(
        "splitc", "activation", inputs={"bias": OURS, "past_state": OURS},
        outputs={"present_state": OURS},
    ),
    "Col2Im": op("splitc", "dilations", "pads", "strides",
                 inputs={"image_shape": stored(), "block_shape": stored()}, types=("float32",)),
    "Conv": op(
        "TVM", "kernel_shape", "pads", "strides", "dilations", "group",
        attributes={"auto_pad": OURS}, inputs={"B": TVM}, types=FLOATS, check=_conv,
        note="maps of more than three axes",
    ),
    "ConvInteger": op(
        "splitc", *_window, "group", inputs={"x_zero_point": OURS, "w_zero_point": OURS}
    ),
    "ConvTranspose": op(
        "TVM", "kernel_shape", "pads", "strides", "dilations", "group", "output_padding",
        attributes={"auto_pad": OURS, "output_shape": OURS}, inputs={"B": TVM}, types=FLOATS,
        check=_transposed, note="a result longer than kernel and strides reach",
    ),
    "DeformConv": op(
        "splitc", "dilations", "group", "kernel_shape", "offset_group", "pads", "strides",
        inputs={"B": OURS, "mask": OURS}, types=("float32",), check=_deformed, note=_DEFORMED,
    ),
    "GRU": op("splitc", *_cells, "linear_before_reset", inputs=_states, outputs=_given,
              types=_SINGLE,
              check=_recurrent, note=_CELLS),
    "GlobalAveragePool": op(types=FLOATS),
    "GlobalLpPool": op("TVM", "p", types=FLOATS),
    "GlobalMaxPool": op(types=FLOATS),
    "GridSample": op(
        "TVM", "align_corners", "mode", "padding_mode", types=FLOATS, check=_sampled,
        note="cubic sampling of maps of three axes",
    ),
    "GroupNormalization": op(
        "TVM", "epsilon", "num_groups",
        attributes={"stash_type": only(1, why="it is computed in float32")}, types=FLOATS,
        check=_group, note="operands of fewer than three axes",
    ),
    "InstanceNormalization": op("TVM", "epsilon", types=FLOATS),
    "LRN": op("TVM", "alpha", "beta", "bias", attributes={"size": OURS}, types=("float32",),
              check=_response),
    "LSTM": op("splitc", *_cells, "input_forget", inputs=_cell_states,
               outputs=_given | {"Y_c": OURS}, types=_SINGLE,
               check=_recurrent, note=_CELLS),
    "LayerNormalization": op(
        "TVM", "axis", "epsilon",
        attributes={"stash_type": only(1, why="it is computed in float32")},
        inputs={"B": TVM}, outputs={"Mean": OURS, "InvStdDev": OURS}, types=("float16", "float32"),
    ),
    "LinearAttention": op(
        "splitc", "chunk_size", "kv_num_heads", "q_num_heads", "scale", "update_rule",
        inputs=dict.fromkeys(("past_state", "decay", "beta"), OURS),
        outputs={"present_state": OURS},
        check=_bodiless,
    ),
    "LpNormalization": op("splitc", "axis", "p", types=("float32", "float64")),
    "LpPool": op("splitc", *_window, "p", "ceil_mode", types=FLOATS, check=_pooled),
    "MaxPool": op(
        "TVM", "kernel_shape", "pads", "strides", "dilations", "ceil_mode",
        attributes={"auto_pad": OURS, "storage_order": TVM},
        outputs={"Indices": refused("only of floats, with pads that are named")}, check=_conv,
    ),
    "MaxRoiPool": op("TVM", "pooled_shape", "spatial_scale", types=FLOATS),
    "MaxUnpool": op(
        "splitc", "kernel_shape", "pads", "strides",
        inputs={"output_shape": refused("places are counted in another shape then")},
        check=_unshaped,
    ),
    "MeanVarianceNormalization": op("splitc", "axes", types=WIDE,
                                    check=_unshaped),
    "QLinearConv": op("splitc", *_window, "group", inputs={"B": OURS}),
    "RMSNormalization": op(
        "TVM", "epsilon",
        attributes={"axis": OURS, "stash_type": only(1, why="it is computed in float32")},
        types=FLOATS, check=_root,
    ),
    "RNN": op("splitc", *_cells, inputs=_states, outputs=_given,
              types=_SINGLE, check=_recurrent, note=_CELLS),
    "Resize": op(
        "TVM", "coordinate_transformation_mode", "cubic_coeff_a", "extrapolation_value", "mode",
        "nearest_mode",
        attributes={
            **dict.fromkeys(("antialias", "axes", "exclude_outside"), only(
                0, why="only of floats, with scales, sizes and region stored", by="splitc")),
            "keep_aspect_ratio_policy": only(
                "stretch", by="splitc", why="only with scales, sizes and region stored"),
        },
        inputs={"roi": OURS, "scales": OURS, "sizes": OURS}, check=_resized,
        note="scales, sizes or a region that are computed; corners aligned at no whole extent",
    ),
    "RoiAlign": op(
        "TVM", "coordinate_transformation_mode", "output_height", "output_width",
        "sampling_ratio",
        attributes={
            "mode": only("avg", why="TVM takes the largest of interpolated values, onnx of "
                                    "their parts"),
            "spatial_scale": OURS,
        },
        types=FLOATS, check=_regions,
    ),
    "RotaryEmbedding": op("splitc", "interleaved", "num_heads", "rotary_embedding_dim",
                          inputs={"position_ids": OURS}),
    "Upsample": op("onnx", "mode", "scales",
                   check=_unconverted),
    "TensorScatter": op("splitc", "axis", "mode", inputs={"write_indices": OURS}),
    "NonMaxSuppression": op(
        "splitc", "center_point_box",
        inputs=dict.fromkeys(
            ("max_output_boxes_per_class", "iou_threshold", "score_threshold"), stored()),
        types=("float32",), check=_counted, note="read by what computes across the boxes kept",
    ),
    "DepthToSpace": op("TVM", "blocksize", "mode"),
    "SpaceToDepth": op("TVM", "blocksize", attributes={"mode": only("DCR", why="no fixed shape",
                                                                    by="splitc")}),
}  # fmt: skip
