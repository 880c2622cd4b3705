# SPDX-License-Identifier: Apache-2.0
"""What crosses on one route, cut into packets and put together from those that came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.errors import BadBundleError, UsageError
from splitc.link.packets import Chunks, Order, Unit
from splitc.runtime.manifest import Missing, TensorSpec
from splitc.runtime.tvm_abi import aligned
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, MOST_CHUNKS, Header, Kind


class Boundary:
    """The tensors that cross on one route, in chunks.

    Args:
        specs: The tensors, in the order of the route.
        payload_bytes: Bytes of values that a packet holds.
        order_seed: Of the order that elements are sent in.
        missing: How what did not come is read, one a tensor; by default as `Missing.of` says.

    Raises:
        UsageError: A packet holds no element, or the tensors fill more packets than a frame has.
        BadBundleError: A tensor has open extents or an element type that numpy has not, or
            what is said about missing elements makes no sense.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        payload_bytes: int,
        order_seed: int,
        missing: Sequence[Missing] = (),
    ) -> None:
        rules = list(missing) or [Missing.of(spec) for spec in specs]
        if len(rules) != len(specs):
            why = f"{len(specs)} tensors cross, {len(rules)} are described"
            raise BadBundleError("the route does not say how each missing element is read", why=why)
        self.specs = tuple(specs)
        self.payload_bytes = payload_bytes
        self.order_seed = order_seed
        self._tensors: list[_Tensor] = []
        self.chunks = 0
        for spec, rule in zip(specs, rules, strict=True):
            self._tensors.append(_Tensor(spec, payload_bytes, order_seed, rule, self.chunks))
            self.chunks = self._tensors[-1].last
        if not self.chunks:
            raise BadBundleError("there is nothing to send", why="no element crosses")
        self.nbytes = sum(tensor.nbytes for tensor in self._tensors)
        self.sizes = np.concatenate([tensor.sizes for tensor in self._tensors])
        """Bytes of payload of each chunk [chunks]."""
        self._elements = sum(tensor.elements(tensor.chunks.units) for tensor in self._tensors)

    def prepare(self) -> None:
        """Compute the order that frames are sent in, which the first would wait for."""
        for tensor in self._tensors:
            _ = tensor.order.elements

    def pack(
        self,
        arrays: Sequence[Array],
        *,
        session: int,
        split: int,
        frame: int,
        route: int = 0,
        extra: int = 0,
    ) -> Datagrams:
        """The packets of one frame, in order; there is room to seal each in its row.

        Args:
            arrays: The tensors, of the contract's element types and sizes.
            session: See `Header`.
            split: See `Header`.
            frame: See `Header`.
            route: See `Header`.
            extra: The frame's own deadline in ms; 0 is the session's.

        Raises:
            UsageError: A tensor does not fit.
        """
        header = Header(Kind.DATA, session, split, frame, route, 0, self.chunks, extra)
        made = Datagrams.frame(header, self.sizes, self.payload_bytes)
        for tensor, array in zip(self._tensors, arrays, strict=True):
            tensor.pack(array, made.block[tensor.first : tensor.last, HEADER_BYTES:])
        return made

    def unpack(
        self, rows: NDArray[np.uint8], came: NDArray[np.bool_], loss_rate: float = 0.0
    ) -> tuple[list[Array], float]:
        """The tensors as far as their chunks came.

        Args:
            rows: The chunks' payloads [chunks, payload_bytes]; those that did not come are
                written over.
            came: Which came [chunks].
            loss_rate: p of `scale` "rate", in [0, 1).

        Returns:
            New arrays in order, aligned as parts want them, and the share of the elements
            that came.
        """
        whole = bool(came.all())
        if not whole:
            rows[~came] = 0
        arrays: list[Array] = []
        present = 0
        for tensor in self._tensors:
            here = came[tensor.first : tensor.last]
            units = tensor.chunks.units if whole else tensor.units_of(here)
            present += tensor.elements(units)
            arrays.append(tensor.unpack(rows[tensor.first : tensor.last], here, units, loss_rate))
        return arrays, present / self._elements


class _Tensor:
    """One tensor of a boundary: chunks from `first` up to `last`."""

    def __init__(
        self, spec: TensorSpec, payload_bytes: int, order_seed: int, rule: Missing, first: int
    ) -> None:
        self.name, self.rule, self.first = spec.name, rule, first
        self.shape, self.dtype = plain_type(spec)
        self.wire = self.dtype.newbyteorder("<")
        count, size = math.prod(self.shape), self.dtype.itemsize
        self.nbytes = count * size
        if rule.unit < 1:
            raise BadBundleError(f"'{self.name}' has units of {rule.unit} elements")
        self.chunks = Chunks(count, Unit(rule.unit, rule.unit * size), payload_bytes)
        self.last = first + self.chunks.packets
        if self.last > MOST_CHUNKS:
            why = f"what crosses fills over {MOST_CHUNKS} packets of {payload_bytes} bytes"
            raise UsageError("it cannot be sent", why=why, hint="take a larger --mtu")
        self.order = Order.of(self.chunks.units, order_seed)
        self.unit = _unit_type(self.chunks.unit.nbytes)
        self.sizes = np.full(self.chunks.packets, self.chunks.each * self.unit.itemsize, np.int64)
        if self.chunks.packets:
            rest = self.chunks.units - (self.chunks.packets - 1) * self.chunks.each
            self.sizes[-1] = rest * self.unit.itemsize
        self.fill = self._fill(rule.fill)

    def _fill(self, text: str) -> NDArray[Any] | None:
        """What missing units read as [units]; None where that is zeros."""
        try:
            pattern = np.frombuffer(bytes.fromhex(text), np.uint8)
        except ValueError as error:
            raise BadBundleError(f"the fill of '{self.name}' is no hexadecimal") from error
        if not pattern.any():
            return None
        return np.resize(pattern, self.chunks.units * self.unit.itemsize).view(self.unit)

    def pack(self, array: Array, rows: NDArray[np.uint8]) -> None:
        """Write its chunks' payloads into rows."""
        if array.dtype != self.dtype or array.size * array.itemsize != self.nbytes:
            why = f"it is {array.dtype} {array.shape}, the contract {self.dtype} {self.shape}"
            raise UsageError(f"'{self.name}' does not fit", why=why)
        units, each, size = self.chunks.units, self.chunks.each, self.unit.itemsize
        flat = np.ascontiguousarray(array, self.wire).reshape(-1).view(np.uint8)
        if units * size != self.nbytes:
            flat = np.concatenate([flat, np.zeros(units * size - self.nbytes, np.uint8)])
        flat = flat.view(self.unit)
        order = self.order.elements
        full = units // each
        # "wrap" is numpy's quickest: the order has no index that it would have to look at.
        taken = flat.take(order[: full * each].reshape(full, each), mode="wrap")
        rows[:full, : each * size].view(self.unit)[...] = taken
        if rest := units - full * each:
            last = flat.take(order[full * each :], mode="wrap")
            rows[full, : rest * size].view(self.unit)[...] = last

    def elements(self, units: int) -> int:
        """Elements of so many units."""
        return units * self.chunks.unit.elements

    def units_of(self, came: NDArray[np.bool_]) -> int:
        """How many units are in the chunks that came."""
        return int(self.sizes[came].sum()) // self.unit.itemsize

    def unpack(
        self, rows: NDArray[np.uint8], came: NDArray[np.bool_], units: int, loss_rate: float
    ) -> Array:
        """The tensor from its rows, of which those that did not come are zeros."""
        size, each = self.unit.itemsize, self.chunks.each
        whole = self.chunks.units
        places = self.order.places
        sent = np.ascontiguousarray(rows[:, : each * size]).reshape(-1).view(self.unit)
        memory = aligned((whole * size,), np.dtype(np.uint8))
        if whole:
            sent.take(places, out=memory.view(self.unit), mode="wrap")
        if units < whole and self.fill is not None:
            lost = ~came[places // each]
            memory.view(self.unit)[lost] = self.fill[lost]
        array = memory[: self.nbytes].view(self.wire).reshape(self.shape)
        if self.dtype.kind == "b":
            return memory[: self.nbytes].reshape(self.shape) != 0
        if self.dtype.kind == "f":
            self._scale(array, units, loss_rate)
        return array.astype(self.dtype, copy=False)

    def _scale(self, array: Array, units: int, loss_rate: float) -> None:
        if not units:
            # Nothing that came is nothing to scale, and then p may be 1.
            return
        kept = 1.0
        if self.rule.scale == "rate":
            kept = 1.0 - loss_rate
        elif self.rule.scale == "realised":
            kept = units / self.chunks.units
        if kept != 1.0:
            # What a peer sends may be too large for it: that is its affair.
            with np.errstate(over="ignore", invalid="ignore"):
                array *= self.dtype.type(1.0 / kept)


_TYPES = frozenset(
    ["bool", "float16", "float32", "float64", "complex64", "complex128"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


def plain_type(spec: TensorSpec) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Extents and element type of a tensor that can be sent.

    Raises:
        BadBundleError: It has open extents, or a type that numpy has not.
    """
    shape = tuple(extent for extent in spec.shape if extent is not None)
    if spec.dtype not in _TYPES:
        why = f"numpy has no numbers of type '{spec.dtype}'"
        raise BadBundleError(f"'{spec.name}' cannot be sent", why=why)
    if len(shape) != len(spec.shape) or min(shape, default=0) < 0:
        why = "its extents hang on the data"
        raise BadBundleError(f"'{spec.name}' cannot be sent", why=why)
    return shape, np.dtype(spec.dtype)


def _unit_type(nbytes: int) -> np.dtype[Any]:
    """A type of so many bytes, to be moved about."""
    return np.dtype(f"<u{nbytes}" if nbytes in (1, 2, 4, 8) else f"V{nbytes}")
