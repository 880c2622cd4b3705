# SPDX-License-Identifier: Apache-2.0
"""Which operators of PyTorch's are converted, and which values of each argument, by whom.

A line is an operator as `name.overload`, who converts it, and the arguments of its schema:

    tvm      TVM's importer, held against PyTorch by tests with other values than the default
    own      a converter of this package (converters.py)
    rewrite  a rewrite of this package takes it apart; one that stays in a program is refused

    name        any value
    name=V      only this value; others are refused, for the reason in WHY
    name:V      a rewrite takes other values away first
    name~       it does not bear on values: a place in memory, a layout, a hint

    -> N        of several results the first N are computed; reading others is refused

What torch's own decompositions take apart (`torch.export.default_decompositions`) is not here:
SELU or attention are products, sums and exponentials by the time the table is asked.
A test holds the table against the schemas of the installed PyTorch and TVM's map.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from typing import Any

_TEXT = """
abs.default tvm self
acos.default tvm self
acosh.default tvm self
_adaptive_avg_pool2d.default tvm self output_size
_adaptive_avg_pool3d.default tvm self output_size
adaptive_max_pool2d.default rewrite self output_size
adaptive_max_pool3d.default rewrite self output_size
add.Scalar tvm self other alpha:1
add.Tensor tvm self other alpha:1
addmm.default tvm self mat1 mat2 beta alpha
alias.default tvm self
amax.default own self dim keepdim
amin.default own self dim keepdim
any.default rewrite self
any.dim rewrite self dim keepdim
any.dims tvm self dim keepdim
argmax.default tvm self dim keepdim
argmin.default tvm self dim keepdim
as_strided.default rewrite self size stride storage_offset
asin.default tvm self
asinh.default tvm self
atan.default tvm self
atan2.default tvm self other
atanh.default tvm self
avg_pool2d.default tvm self kernel_size stride padding ceil_mode count_include_pad
    divisor_override:None
avg_pool3d.default tvm self kernel_size stride padding ceil_mode count_include_pad
    divisor_override:None
bitwise_and.Scalar tvm self other
bitwise_and.Tensor tvm self other
bitwise_not.default tvm self
bitwise_or.Scalar tvm self other
bitwise_or.Tensor tvm self other
bitwise_xor.Scalar tvm self other
bitwise_xor.Tensor tvm self other
bmm.default tvm self mat2
bucketize.Tensor tvm self boundaries out_int32 right
cat.default tvm tensors dim
_cdist_forward.default rewrite x1 x2 p compute_mode~
ceil.default tvm self
clamp.Tensor rewrite self min max
clamp.default tvm self min max
clone.default tvm self memory_format~
constant_pad_nd.default tvm self pad value
convolution.default tvm input weight bias stride padding dilation transposed output_padding groups
copy.default rewrite self src non_blocking~
cos.default tvm self
cosh.default tvm self
cumprod.default tvm self dim dtype:None
cumsum.default tvm self dim dtype:None
diagonal.default tvm self offset dim1 dim2
div.Scalar tvm self other
div.Scalar_mode rewrite self other rounding_mode
div.Tensor tvm self other
div.Tensor_mode own self other rounding_mode='floor'
elu.default tvm self alpha scale:1 input_scale:1
embedding.default tvm weight indices padding_idx~ scale_grad_by_freq~ sparse~
_embedding_bag.default rewrite weight indices offsets scale_grad_by_freq~ mode sparse~
    per_sample_weights include_last_offset padding_idx
_embedding_bag_forward_only.default rewrite weight indices offsets scale_grad_by_freq~ mode
    sparse~ per_sample_weights include_last_offset padding_idx
empty.memory_format rewrite size dtype layout~ device~ pin_memory~ memory_format~
eq.Scalar tvm self other
eq.Tensor tvm self other
erf.default tvm self
exp.default tvm self
expand.default tvm self size implicit~
expm1.default rewrite self
flip.default tvm self dims
floor.default tvm self
fmod.Scalar tvm self other
fmod.Tensor tvm self other
gather.default tvm self dim index sparse_grad~
ge.Scalar tvm self other
ge.Tensor tvm self other
gelu.default tvm self approximate
grid_sampler_2d.default own input grid interpolation_mode padding_mode align_corners
gru.input own input hx params has_biases num_layers dropout~ train~ bidirectional
    batch_first
gt.Scalar tvm self other
gt.Tensor tvm self other
hardtanh.default tvm self min_val max_val
index.Tensor rewrite self indices
index_put.default rewrite self indices values accumulate
index_select.default tvm self dim index
isinf.default tvm self
isnan.default tvm self
le.Scalar tvm self other
le.Tensor tvm self other
leaky_relu.default tvm self negative_slope
linalg_vector_norm.default rewrite self ord dim keepdim dtype
log.default tvm self
log10.default tvm self
log1p.default rewrite self
log2.default tvm self
_log_softmax.default tvm self dim half_to_float=False
logical_and.default tvm self other
logical_not.default tvm self
logical_or.default tvm self other
logical_xor.default tvm self other
lstm.input own input hx params has_biases num_layers dropout~ train~ bidirectional
    batch_first
lt.Scalar tvm self other
lt.Tensor tvm self other
masked_scatter.default rewrite self mask source
max.default tvm self
max.dim rewrite self dim keepdim
max_pool2d_with_indices.default own self kernel_size stride padding dilation ceil_mode
max_pool3d_with_indices.default own self kernel_size stride padding dilation ceil_mode
maximum.default tvm self other
mean.default tvm self dtype
mean.dim tvm self dim keepdim dtype
median.default rewrite self
median.dim rewrite self dim keepdim
min.default tvm self
min.dim rewrite self dim keepdim
minimum.default tvm self other
mm.default tvm self mat2
mul.Scalar tvm self other
mul.Tensor tvm self other
_native_batch_norm_legit.no_stats own input weight bias training=True momentum~ eps
_native_batch_norm_legit_no_training.default tvm input weight bias running_mean running_var
    momentum~ eps -> 1
native_group_norm.default own input weight bias N~ C~ HxW~ group eps
native_layer_norm.default own input normalized_shape weight bias eps
ne.Scalar tvm self other
ne.Tensor tvm self other
neg.default tvm self
_pdist_forward.default rewrite self p
permute.default tvm self dims
pow.Scalar tvm self exponent
pow.Tensor_Scalar tvm self exponent
pow.Tensor_Tensor tvm self exponent
prod.default tvm self dtype:None
prod.dim_int own self dim keepdim dtype:None
reciprocal.default tvm self
relu.default tvm self
remainder.Scalar tvm self other
remainder.Scalar_Tensor rewrite self other
remainder.Tensor tvm self other
repeat.default tvm self repeats
rnn_relu.input own input hx params has_biases num_layers dropout~ train~ bidirectional
    batch_first
rnn_tanh.input own input hx params has_biases num_layers dropout~ train~ bidirectional
    batch_first
round.decimals tvm self decimals
round.default tvm self
rrelu_with_noise_functional.default rewrite self noise lower upper training generator~
rsqrt.default tvm self
scatter.reduce rewrite self dim index src reduce
scatter.src tvm self dim index src
scatter.value tvm self dim index value
scatter.value_reduce rewrite self dim index value reduce
scatter_add.default own self dim index src
scatter_reduce.two own self dim index src reduce include_self=True
select.int tvm self dim index
sigmoid.default tvm self
sign.default tvm self
sin.default tvm self
sinh.default tvm self
slice.Tensor tvm self dim start end step
slice_scatter.default tvm self src dim start end step
_softmax.default tvm self dim half_to_float=False
sort.default tvm self dim descending
sort.stable rewrite self stable dim descending
split_with_sizes.default tvm self split_sizes dim
sqrt.default tvm self
squeeze.dims tvm self dim
sub.Scalar tvm self other alpha:1
sub.Tensor tvm self other alpha:1
sum.dim_IntList tvm self dim keepdim dtype
tan.default tvm self
tanh.default tvm self
_to_copy.default tvm self dtype layout~ device~ pin_memory~ non_blocking~ memory_format~
topk.default own self k dim largest sorted~
trunc.default tvm self
unfold.default rewrite self dimension size step
unsqueeze.default tvm self dim
_unsafe_index_put.default own self indices values accumulate
upsample_bicubic2d.default rewrite self output_size align_corners scales_h scales_w
upsample_bicubic2d.vec rewrite input output_size align_corners scale_factors
_upsample_bicubic2d_aa.default rewrite self output_size align_corners scales_h scales_w
_upsample_bicubic2d_aa.vec rewrite input output_size align_corners scale_factors
upsample_bilinear2d.default rewrite self output_size align_corners scales_h scales_w
upsample_bilinear2d.vec tvm input output_size align_corners scale_factors
_upsample_bilinear2d_aa.default rewrite self output_size align_corners scales_h scales_w
_upsample_bilinear2d_aa.vec rewrite input output_size align_corners scale_factors
upsample_linear1d.default rewrite self output_size align_corners scales
upsample_linear1d.vec rewrite input output_size align_corners scale_factors
upsample_nearest1d.default rewrite self output_size scales
upsample_nearest1d.vec rewrite input output_size scale_factors
upsample_nearest2d.default rewrite self output_size scales_h scales_w
upsample_nearest2d.vec tvm input output_size scale_factors
upsample_nearest3d.default rewrite self output_size scales_d scales_h scales_w
upsample_nearest3d.vec rewrite input output_size scale_factors
upsample_trilinear3d.default rewrite self output_size align_corners scales_d scales_h scales_w
upsample_trilinear3d.vec rewrite input output_size align_corners scale_factors
var.correction tvm self dim correction keepdim
view.default tvm self size
where.self tvm condition self other
"""


@dataclass(frozen=True)
class Reading:
    """How an operator is converted.

    Args:
        by: `tvm`, `own` or `rewrite`.
        arguments: Those of its schema, in order.
        only: The one value of an argument that is converted.
        rewritten: Arguments whose other values a rewrite takes away.
        idle: Arguments that do not bear on values.
        results: How many of its results are computed; None for all.
    """

    by: str
    arguments: tuple[str, ...]
    only: dict[str, Any] = field(default_factory=dict[str, Any])
    rewritten: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    results: int | None = None


@cache
def readings() -> dict[str, Reading]:
    """The table by operator, as `name.overload`."""
    return dict(map(_reading, _TEXT.strip().replace("\n    ", " ").splitlines()))


def _reading(line: str) -> tuple[str, Reading]:
    front, _, count = line.partition(" -> ")
    name, by, *given = front.split()
    names: list[str] = []
    only: dict[str, Any] = {}
    rewritten: set[str] = set()
    idle: set[str] = set()
    for each in given:
        bare = each.rstrip("~")
        for mark in "=:":
            if mark in bare:
                bare, _, value = bare.partition(mark)
                only[bare] = ast.literal_eval(value)
                rewritten |= {bare} if mark == ":" else set()
        idle |= {bare} if each.endswith("~") else set()
        names.append(bare)
    computed = int(count) if count else None
    return name, Reading(by, tuple(names), only, frozenset(rewritten), frozenset(idle), computed)


_UNREAD_TEXT = """
addmm.dtype bmm.dtype mm.dtype bitwise_and.Scalar_Tensor bitwise_or.Scalar_Tensor
bitwise_xor.Scalar_Tensor bucketize.Scalar view.dtype
index.Tensor_hacked_twin index_put.hacked_twin _unsafe_index_put.hacked_twin

arange.start_step full.default full_like.default scalar_tensor.default empty.default
empty_permuted.default hamming_window.default hamming_window.periodic
hamming_window.periodic_alpha hamming_window.periodic_alpha_beta

bernoulli.p dropout.default native_dropout.default exponential.default randn.default
randn_like.default
_native_batch_norm_legit_functional.default batch_norm.default

masked_select.default _local_scalar_dense.default sym_constrain_range_for_size.default
_assert_async.default _assert_async.msg _assert_scalar.default _assert_tensor_metadata.default

_adaptive_avg_pool1d.default broadcast_to.default chunk.default contiguous.default
expand_as.default flatten.using_ints narrow.default reshape.default reshape_as.default
to.dtype to.dtype_layout unflatten.int softsign.default lift_fresh_copy.default
_sparse_addmm.default roi_align.default
"""

UNREAD = frozenset(_UNREAD_TEXT.split())
"""Operators that TVM's importer knows or that have a relative in the table, and are refused.

By paragraphs: other forms, which programs hold seldom; computed from no input, and so by PyTorch;
random, or as in training; of sizes that depend on values, and checks; written as others by
torch.export, sparse, or of another library.
"""

WHY = {
    "index.Tensor": "a mask picks as many elements as its values say",
    "index_put.default": "a mask picks as many elements as its values say",
    "as_strided.default": "the tensor does not lie in memory as it is indexed",
    "_native_batch_norm_legit_functional.default": "it normalises as in training",
    "native_dropout.default": "it drops values at random",
    "dropout.default": "it drops values at random",
    "rrelu_with_noise_functional.default": "it draws slopes at random",
    "_embedding_bag.default": "more than the bags is read of it",
    "_embedding_bag_forward_only.default": "more than the bags is read of it",
    "masked_select.default": "how many elements it gives depends on values",
    "nonzero.default": "how many elements it gives depends on values",
}
"""Why an operator, or a form of it, is refused."""

RANDOM = "it gives other values at each run"
