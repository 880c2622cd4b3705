# SPDX-License-Identifier: Apache-2.0
"""What an ONNX node says of a recurrent layer, direction by direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_USUAL = {
    "lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",),
}  # fmt: skip

_NUMBERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0), "elu": (1.0, None), "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None), "relu": (None, None), "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None), "softplus": (None, None), "softsign": (None, None),
    "tanh": (None, None), "thresholdedrelu": (1.0, None),
}  # fmt: skip
"""Activations in lower case, and what alpha and beta are where the node does not say; None where
there is no such number."""

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent layer.

    Args:
        kind: "lstm", "gru" or "rnn".
        reverse: Whether it begins at the end.
        activations: (name, alpha, beta) of each.
        clip: What activations are given is kept within, on either side.
        input_forget: Whether an LSTM forgets as much as it does not take in.
        reset_after: Whether a GRU resets behind the product.
    """

    kind: str
    reverse: bool
    activations: tuple[tuple[str, float, float], ...]
    clip: float | None = None
    input_forget: bool = False
    reset_after: bool = False

    @property
    def states(self) -> int:
        """States that it keeps from step to step."""
        return 2 if self.kind == "lstm" else 1

    @property
    def attributes(self) -> dict[str, Any]:
        """What the operation `recurrent` carries."""
        return {
            "kind": self.kind, "reverse": self.reverse, "activations": self.activations,
            "clip": self.clip, "input_forget": self.input_forget,
            "reset_after": self.reset_after,
        }  # fmt: skip


def usual(kind: str, *, reverse: bool, names: Sequence[str] = ()) -> Direction:
    """A direction as PyTorch has it: its GRU resets behind the product."""
    activations = tuple((name, 0.0, 0.0) for name in names or _USUAL[kind])
    return Direction(kind, reverse, activations, reset_after=kind == "gru")


def described(op: str, attrs: Mapping[str, Any]) -> list[Direction]:
    """The directions of a node.

    Args:
        op: LSTM, GRU or RNN.
        attrs: Its attributes.

    Raises:
        ValueError: Its activations or its direction are none that splitc knows.
    """
    kind = op.lower()
    ways = _DIRECTIONS.get(_text(attrs.get("direction", "forward")))
    if ways is None:
        raise ValueError(f"direction={_text(attrs['direction'])}")
    each = len(_USUAL[kind])
    names = [_text(name).lower() for name in attrs.get("activations", ())]
    names = names or list(_USUAL[kind]) * len(ways)
    if len(names) != each * len(ways) or not set(names) <= _NUMBERS.keys():
        raise ValueError(f"activations={','.join(names)}")
    alphas, betas = (iter(attrs.get(f"activation_{which}", ())) for which in ("alpha", "beta"))
    functions = [
        (name, _next(alphas, _NUMBERS[name][0]), _next(betas, _NUMBERS[name][1])) for name in names
    ]
    clip = attrs.get("clip")
    return [
        Direction(
            kind, reverse, tuple(functions[number * each : (number + 1) * each]),
            float(clip) if clip else None, bool(attrs.get("input_forget", 0)),
            kind == "gru" and bool(attrs.get("linear_before_reset", 0)),
        )
        for number, reverse in enumerate(ways)
    ]  # fmt: skip


_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def fits(
    op: str, ways: int, shapes: Sequence[tuple[int, ...] | None], *, batch_first: bool = False
) -> bool:
    """Whether the tensors of a node belong together: kernels trust their sizes.

    Args:
        op: LSTM, GRU or RNN.
        ways: Directions.
        shapes: Of its inputs in their order; None for one that is left out.
        batch_first: Whether sequences are the first dimension.
    """
    x, w, r, *rest = shapes
    if x is None or r is None or len(x) != 3 or len(r) != 3 or 0 in (*x, *r):
        return False
    hidden, batch = r[2], x[0] if batch_first else x[1]
    rows = _GATES[op.lower()] * hidden
    state = (batch, ways, hidden) if batch_first else (ways, batch, hidden)
    wanted = ((ways, 2 * rows), (batch,), state, state, (ways, 3 * hidden))
    beside = zip(rest, wanted, strict=False)
    whole = w == (ways, rows, x[2]) and r == (ways, rows, hidden)
    return whole and all(given in (None, fit) for given, fit in beside)


def _next(given: Iterator[float], default: float | None) -> float:
    """The next number, for a function that has one."""
    return 0.0 if default is None else float(next(given, default))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
