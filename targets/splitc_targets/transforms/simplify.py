# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Rewrites before rules choose: constants folded, identities dropped, normalisations merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value, constant, made, whole_numbers
from splitc_targets.transforms.casts import spell_cast
from splitc_targets.transforms.moves import name_moves
from splitc_targets.transforms.spelling import spell

Array = np.ndarray[Any, Any]


def simplify(graph: Graph) -> None:
    """Rewrite a graph in place until rules see one node for each thing that they know."""
    fold(graph)
    drop_identities(graph)
    name_local_normalisation(graph)
    drop_nan_guards(graph)
    spell_cast(graph)
    unstack(graph)
    spell(graph)
    spell_variance(graph)
    spell_batch_norm(graph)
    fold(graph)
    spell_prelu(graph)
    name_moves(graph)
    merge_affine(graph)
    pad_apart(graph)
    graph.prune()


_FOLD: dict[str, Callable[..., Array]] = {
    "reshape": lambda node, x, shape: x.reshape(node.output.shape),
    "permute_dims": lambda node, x: x.transpose(node.attrs["axes"]),
    "broadcast_to": lambda node, x, shape: np.broadcast_to(x, shape),
    "expand_dims": lambda node, x: x.reshape(node.output.shape),
    "squeeze": lambda node, x: x.reshape(node.output.shape),
    "flatten": lambda node, x: x.reshape(node.output.shape),
    "astype": lambda node, x: x.astype(node.output.dtype),
    "add": lambda node, x, y: x + y,
    "subtract": lambda node, x, y: x - y,
    "multiply": lambda node, x, y: x * y,
    "divide": lambda node, x, y: (x / y) if x.dtype.kind == "f" else _truncated(x, y),
    "sqrt": lambda node, x: np.sqrt(x),
    "negative": lambda node, x: -x,
    "power": lambda node, x, y: np.power(x, y),
    "maximum": lambda node, x, y: np.maximum(x, y),
    "minimum": lambda node, x, y: np.minimum(x, y),
    "isnan": lambda node, x: np.isnan(x),
    "less": lambda node, x, y: x < y,
    "greater": lambda node, x, y: x > y,
    "equal": lambda node, x, y: x == y,
    "where": lambda node, c, x, y: np.where(c, x, y),
    "take": lambda node, x, i: np.take(x, i, axis=node.attrs["axis"], mode="wrap"),
    "stack": lambda node, xs: np.stack(xs, axis=node.attrs["axis"]),
    "concat": lambda node, xs: np.concatenate(xs, axis=node.attrs["axis"]),
}
"""Operations on constants that numpy does when compiling: (node, arguments) -> numbers."""


def _truncated(x: Array, y: Array) -> Array:
    """The quotient of integers, towards zero."""
    quotient = np.floor_divide(np.abs(x), np.abs(y))
    return np.sign(x) * np.sign(y) * quotient


def fold(graph: Graph) -> None:
    """Compute what depends on constants only."""
    replaced: dict[Value, Value] = {}
    kept: list[Node] = []

    def known(arg: Any) -> Any:
        if isinstance(arg, list):
            return [known(each) for each in arg]
        if isinstance(arg, Value):
            return replaced.get(arg, arg).data
        return arg

    for node in graph.nodes:
        ready = all(replaced.get(v, v).data is not None for v in node.inputs)
        if node.op in _FOLD and ready and node.inputs and len(node.outputs) == 1:
            data = _FOLD[node.op](node, *[known(arg) for arg in node.args])
            data = np.asarray(data, dtype=node.output.dtype)
            if data.size <= _LARGEST or (node.op in _MOVES and node.op != "broadcast_to"):
                replaced[node.output] = constant(data)
                continue
        kept.append(node)
    graph.nodes = kept
    graph.replace(replaced)


_MOVES = ("reshape", "permute_dims", "expand_dims", "squeeze", "flatten", "broadcast_to")
_LARGEST = 1 << 22
"""Elements of a computed constant that may be stored rather than computed at run time."""


def drop_identities(graph: Graph) -> None:
    """Operations that give back their input: dropout, same-shape reshapes and broadcasts."""
    replaced: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        first = node.inputs[0] if node.inputs else None
        same = first is not None and (first.shape, first.dtype) == (
            node.output.shape, node.output.dtype,
        )  # fmt: skip
        if node.op == "nn.dropout" or (same and node.op in _IDENTITIES):
            replaced[node.output] = first  # type: ignore[assignment]
        else:
            kept.append(node)
    graph.nodes = kept
    graph.replace(replaced)


_IDENTITIES = ("reshape", "broadcast_to", "astype", "squeeze", "expand_dims", "flatten")


def drop_nan_guards(graph: Graph) -> None:
    """where(isnan(x), x, bound(x)), as Clip arrives: rules' bounds let not-a-number through."""
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.op != "where":
            continue
        condition, yes, no = node.args
        guard, bound = condition.producer, no.producer
        if guard is None or guard.op != "isnan" or bound is None:
            continue
        source = guard.args[0]
        kept = yes is source or (yes.data is not None and bool(np.isnan(yes.data).all()))
        same = no.shape == node.output.shape
        if kept and same and bound.op in ("maximum", "minimum") and source in bound.args:
            replaced[node.output] = no
    graph.replace(replaced)
    graph.prune()


_OF_STACK = {"sum": "add", "mean": "add", "max": "maximum", "min": "minimum"}


def unstack(graph: Graph) -> None:
    """Reductions over stacked tensors, as ONNX's Sum, Mean, Max and Min arrive, step by step."""
    consumers = graph.consumers()
    outputs = set(graph.outputs)
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        source = node.inputs[0].producer if node.inputs else None
        if (
            node.op in _OF_STACK
            and source is not None
            and source.op == "stack"
            and node.output.dtype in ("float32", "float64")
            and node.attrs["axis"] == (source.attrs["axis"],)
            and not node.attrs["keepdims"]
            and len(consumers[source.output]) == 1
            and source.output not in outputs
        ):
            total, *rest = [_narrowed(value) for value in source.inputs]
            for term in rest:
                args = [total, term]
                step = made(_OF_STACK[node.op], args, node.output.shape, node.output.dtype)
                nodes.append(step)
                total = step.output
            if node.op == "mean":
                share = constant(np.array(1.0 / len(source.inputs), node.output.dtype))
                step = made("multiply", [total, share], node.output.shape, node.output.dtype)
                nodes.append(step)
                total = step.output
            replaced[node.output] = total
        else:
            nodes.append(node)
    graph.nodes = nodes
    graph.replace(replaced)
    graph.prune()


def _narrowed(value: Value) -> Value:
    """A constant without the dimensions that it only repeats itself along."""
    data = value.data
    if data is None:
        return value
    for axis in range(data.ndim):
        first = data.take([0], axis) if data.shape[axis] else data
        data = first if np.array_equal(np.broadcast_to(first, data.shape), data) else data
    return constant(data)


def spell_variance(graph: Graph) -> None:
    """The variance as the mean of squared distances from the mean."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        x = node.inputs[0] if node.inputs else None
        if node.op != "variance" or x is None or x.dtype != "float32" or not node.attrs["axis"]:
            nodes.append(node)
            continue
        axes = [a % len(x.shape) for a in node.attrs["axis"]]
        kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
        mean = made("mean", [x], kept, x.dtype, axis=node.attrs["axis"], keepdims=True)
        away = made("subtract", [x, mean.output], x.shape, x.dtype)
        square = made("multiply", [away.output, away.output], x.shape, x.dtype)
        out = made("mean", [square.output], node.output.shape, x.dtype, **node.attrs)
        nodes += [mean, away, square, out]
        replaced[node.output] = out.output
    graph.nodes = nodes
    graph.replace(replaced)


def spell_batch_norm(graph: Graph) -> None:
    """Batch normalisation at inference as a multiplication and an addition by constants."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        stored = [value.data for value in node.inputs[1:]]
        if (
            node.op != "nn.batch_norm"
            or node.outputs[0].dtype != "float32"
            or node.attrs["training"]
            or any(data is None for data in stored)
        ):
            nodes.append(node)
            continue
        gamma, beta, mean, variance = (np.asarray(data, np.float64) for data in stored)
        shape = [1] * len(node.inputs[0].shape)
        shape[node.attrs["axis"]] = -1
        scale = 1.0 / np.sqrt(variance + node.attrs["epsilon"])
        scale = scale * gamma if node.attrs["scale"] else scale
        shift = -mean * scale + (beta if node.attrs["center"] else 0.0)
        out = node.outputs[0]
        scaled = made("multiply", [node.inputs[0], _stored(scale, shape)], out.shape, out.dtype)
        moved = made("add", [scaled.output, _stored(shift, shape)], out.shape, out.dtype)
        nodes += [scaled, moved]
        replaced[out] = moved.output
    graph.nodes = nodes
    graph.replace(replaced)


def spell_prelu(graph: Graph) -> None:
    """PReLU with its slopes in a shape that is broadcast as other operands are."""
    replaced: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        if node.op != "nn.prelu" or node.output.dtype != "float32" or node.args[1].data is None:
            continue
        x, slopes = node.args[:2]
        shape = [1] * len(x.shape)
        if x.shape:
            shape[node.attrs["axis"]] = -1
        spelt = made("prelu", [x, _stored(slopes.data, shape)], x.shape, x.dtype)
        graph.nodes[position] = spelt
        replaced[node.output] = spelt.output
    graph.replace(replaced)


def _stored(data: Array, shape: list[int]) -> Value:
    return constant(data.reshape(shape).astype(np.float32))


def merge_affine(graph: Graph) -> None:
    """Chains of multiplications and additions by constants behind a convolution as one of each.

    The factor goes into the weights, as in every compiler: sums round more than that moves them.
    Elsewhere, and behind whole numbers, whose sums are exact, every operation rounds by itself as
    the network has it: (x - zero) scale is 0 where x is zero, and what is rounded to a step next
    takes that step.
    """
    changed = True
    while changed:
        changed = False
        consumers = graph.consumers()
        outputs = set(graph.outputs)
        for node in graph.nodes:
            if node.op not in ("multiply", "add", "subtract") or not _by_constant(node):
                continue
            before = node.args[0].producer
            if (
                before is None
                or not _behind_convolution(node.args[0])
                or len(consumers[node.args[0]]) != 1
                or node.args[0] in outputs
            ):
                continue
            if _merge(graph, before, node):
                changed = True
                break


def _behind_convolution(value: Value) -> bool:
    """Whether it is a convolution by known weights, then only times and plus constants."""
    node = value.producer
    while node is not None and node.op in ("multiply", "add", "subtract") and _by_constant(node):
        node = node.args[0].producer
    if node is None or node.op not in _CONVOLUTIONS:
        return False
    weights = node.args[1].data
    return weights is not None and not whole_numbers(weights)


_CONVOLUTIONS = ("nn.conv2d", "nn.conv1d", "nn.conv2d_transpose", "nn.conv1d_transpose")


def _by_constant(node: Node) -> bool:
    """Whether it is `x op constant` (a constant first operand is moved behind)."""
    x, y = node.args
    if not isinstance(x, Value) or not isinstance(y, Value):
        return False
    if node.op != "subtract" and x.data is not None and y.data is None:
        node.args = [y, x]
        x, y = node.args
    if x.data is not None or y.data is None or x.dtype != "float32":
        return False
    if node.op == "subtract":
        node.op, node.args = "add", [x, constant(-y.data)]
    return x.shape == node.output.shape


def _merge(graph: Graph, before: Node, node: Node) -> bool:
    """Merge `node` into what gives its first operand; whether that could be done."""
    data = node.args[1].data
    if before.op == "nn.conv2d" and node.op == "multiply":
        scaled = _scaled_weights(before, data)
        if scaled is None:
            return False
        before.args = [before.args[0], scaled]
    elif before.op == node.op and _by_constant(before):
        other = before.args[1].data
        both = _product(other, data) if node.op == "multiply" else _sum(other, data)
        if both is None or both.size > max(other.size, data.size):
            return False
        before.args = [before.args[0], constant(both)]
    elif before.op == "add" and node.op == "multiply" and _by_constant(before):
        shift = _product(before.args[1].data, data)
        if shift is None or shift.size > max(before.args[1].data.size, data.size):
            return False
        before.op, before.args = "multiply", [before.args[0], node.args[1]]
        node.op, node.args = "add", [before.output, constant(shift)]
        return True
    else:
        return False
    graph.nodes.remove(node)
    graph.replace({node.output: before.output})
    return True


def _product(a: Array, b: Array) -> Array | None:
    """a b; None where it is beyond what the type holds."""
    with np.errstate(over="ignore", invalid="ignore"):
        both = a * b
    return both if np.isfinite(both).all() else None


_CANCELS = 1e-3
"""Share of its parts below which a sum is what rounding to them leaves, if it is not 0."""


def _sum(a: Array, b: Array) -> Array | None:
    """a + b; None where they cancel: whoever adds and subtracts the same means to round."""
    with np.errstate(over="ignore", invalid="ignore"):
        both = a + b
    larger = np.maximum(np.abs(a), np.abs(b))
    close = np.abs(both) < _CANCELS * larger
    return both if np.isfinite(both).all() and not close.any() else None


def _scaled_weights(conv: Node, factor: Array) -> Value | None:
    """A convolution's weights times a factor per output channel."""
    weights = conv.args[1].data
    if weights is None or conv.attrs["kernel_layout"] != "OIHW" or whole_numbers(weights):
        return None
    per_channel = factor.size == 1 or (factor.ndim in (3, 4) and factor.shape[-3] == factor.size)
    if not per_channel:
        return None
    scaled = _product(weights, factor.reshape(-1, 1, 1, 1))
    return None if scaled is None else constant(scaled.astype(np.float32))


_WIDE_KERNEL = 16
"""Kernel columns up to which a convolution's code for tiles at the border may be written out."""


def pad_apart(graph: Graph) -> None:
    """Padding of very wide kernels as a copy of its own.

    Code for the border is written out for every kernel column of every tile that it touches,
    which for such kernels takes minutes to compile.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in ("nn.conv1d", "nn.conv2d") and node.args[0].dtype == "float32":
            x, pads = node.args[0], tuple(node.attrs["padding"])
            sides = len(pads) // 2
            wide = node.args[1].shape[-1] > _WIDE_KERNEL and any(pads)
            plain = node.attrs["data_layout"] in ("NCHW", "NCW") and len(x.shape) == 2 + sides
            if wide and plain:
                widths = [0, 0, 0, 0]
                for before, after in zip(pads[:sides], pads[sides:], strict=True):
                    widths += [before, after]
                shape = tuple(n + widths[2 * d] + widths[2 * d + 1] for d, n in enumerate(x.shape))
                pad = made("nn.pad", [x], shape, x.dtype, pad_width=tuple(widths),
                           pad_mode="constant", pad_value=0.0)  # fmt: skip
                nodes.append(pad)
                node.args = [pad.output, *node.args[1:]]
                node.attrs = {**node.attrs, "padding": (0,) * len(pads)}
                node.call = None
        nodes.append(node)
    graph.nodes = nodes


def name_local_normalisation(graph: Graph) -> None:
    """Local response normalisation, which arrives as seven operations, as the node "lrn"."""
    nodes = {node.output: node for node in graph.nodes}
    replaced: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        if node.op != "divide" or node.output.dtype != "float32" or len(node.output.shape) < 3:
            continue
        found = _local_normalisation(node, nodes)
        if found is not None:
            graph.nodes[position] = found
            replaced[node.output] = found.output
    graph.replace(replaced)
    graph.prune()


def _local_normalisation(node: Node, by_output: dict[Value, Node]) -> Node | None:
    """x / (bias + alpha * mean of squares over a window)^beta, read backwards from the division."""
    x, bottom = node.args

    def step(value: Any, op: str) -> Node | None:
        found = by_output.get(value) if isinstance(value, Value) else None
        return found if found is not None and found.op == op else None

    power = step(bottom, "power")
    add = step(power.args[0], "add") if power else None
    if power is None or add is None:
        return None
    product = next((n for n in (step(a, "multiply") for a in add.args) if n), None)
    squeezes = (step(a, "squeeze") for a in product.args) if product else ()
    squeeze = next((n for n in squeezes if n), None)
    pool = step(squeeze.args[0], "nn.avg_pool3d") if squeeze else None
    expand = step(pool.args[0], "expand_dims") if pool else None
    square = step(expand.args[0], "multiply") if expand else None
    if product is None or pool is None or square is None or expand is None:
        return None
    window, *others = pool.attrs["pool_size"]
    scalars = [_scalar(power.args), _scalar(add.args), _scalar(product.args)]
    centred = pool.attrs["padding"] == ((window - 1) // 2, 0, 0, window // 2, 0, 0)
    if square.args != [x, x] or others != [1, 1] or None in scalars or not centred:
        return None
    if beta_unknown(scalars[0]) or expand.attrs["axis"] != (1,):
        return None
    if not pool.attrs["count_include_pad"]:
        return None
    beta, bias, alpha = scalars
    return made(
        "lrn", [x], node.output.shape, node.output.dtype,
        window=window, alpha=alpha, beta=beta, bias=bias,
    )  # fmt: skip


def beta_unknown(beta: float | None) -> bool:
    """Whether no rule computes this power."""
    return beta not in (0.5, 0.75, 1.0)


def _scalar(args: list[Any]) -> float | None:
    """The one number among two operands."""
    found = [a.data for a in args if isinstance(a, Value) and a.data is not None and a.size == 1]
    return float(found[0].reshape(())) if len(found) == 1 else None
