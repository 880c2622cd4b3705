# SPDX-License-Identifier: Apache-2.0
"""Networks trained for lost packets, and the accuracy that tests found: a file of them.

In TOML or JSON::

    schema = 1

    [[networks]]
    cut = "layer2.2.relu2"
    dropout_rate = "0.4"
    bits = 8
    loss_rates = [0.0, 0.2, 0.4, 0.6]
    accuracy = [91.4, 90.5, 89.1, 84.8]
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError
from splitc.link.arrivals import Shares

SCHEMA = 1
WHOLE_BITS = 32
"""Of a value that crosses as it is, float32."""
_MOST_BYTES = 4 * 2**20
_MOST_NETWORKS = 10_000
_MOST_BITS = 16


@dataclass(frozen=True)
class Trained:
    """A network trained for lost packets at one cut, and how well it does.

    Args:
        cut: The head's last layers, with commas between.
        dropout_rate: r, as a name: what it was trained with; "0" is a network left as it was.
        accuracy: By the share of the boundary's elements that is missing, in percent or shares,
            nothing sent again; 0 among them.
        bits: Of each element that crosses: 32 as it is, 1 to 16 as `quantize-boundary` sends it.

    Raises:
        UsageError: There is no accuracy at 0, or a rate is outside [0, 1), or there are no such
            bits.
    """

    cut: str
    dropout_rate: str
    accuracy: Mapping[float, float]
    bits: int = WHOLE_BITS

    def __post_init__(self) -> None:
        if 0.0 not in self.accuracy or not all(0 <= rate < 1 for rate in self.accuracy):
            why = "rates are in [0, 1), and 0 is one of them"
            raise UsageError(f"accuracies of '{self.cut}' at impossible loss rates", why=why)
        if not all(0 <= value <= 100 for value in self.accuracy.values()):
            raise UsageError(f"accuracies of '{self.cut}' outside 0 to 100")
        if self.bits != WHOLE_BITS and not 1 <= self.bits <= _MOST_BITS:
            why = f"it is {WHOLE_BITS}, or 1 to {_MOST_BITS} for whole levels"
            raise UsageError(f"'{self.cut}' with {self.bits} bits", why=why)

    def at(self, loss_rate: float) -> float:
        """The accuracy at a loss rate, linear between those that were measured.

        Raises:
            UsageError: The rate is above all that were measured.
        """
        self.check(loss_rate)
        return float(np.interp(loss_rate, *self._curve()))

    def check(self, loss_rate: float) -> None:
        """Refuse a loss rate that nobody measured.

        Raises:
            UsageError: It is above all that were measured.
        """
        rates, _ = self._curve()
        if not 0 <= loss_rate <= rates[-1]:
            why = f"'{self.cut}' was measured up to {rates[-1]:g}"
            raise UsageError(f"no accuracy is known at a loss rate of {loss_rate:g}", why=why)

    def each(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The accuracy at each share that is missing [shares].

        Nothing is guessed: a boundary of which more is missing than was measured counts as a
        wrong answer.
        """
        rates, reached = self._curve()
        return np.where(shares <= rates[-1] + 1e-9, np.interp(shares, rates, reached), 0.0)

    def expected(self, missing: Shares) -> float:
        """The accuracy over a distribution of what is missing; see `each`."""
        return float(np.dot(missing.pmf, self.each(missing.values)))

    def _curve(self) -> tuple[list[float], list[float]]:
        rates = sorted(self.accuracy)
        return rates, [self.accuracy[rate] for rate in rates]


class _Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    cut: str
    dropout_rate: str
    bits: int = WHOLE_BITS
    loss_rates: tuple[float, ...]
    accuracy: tuple[float, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: int
    networks: tuple[_Network, ...]


def read_tested(path: str | Path) -> tuple[Trained, ...]:
    """The networks of a file, by its name TOML or JSON.

    Raises:
        UsageError: It cannot be read, a field is missing, unknown or mistyped, or its figures
            cannot be; says which network's.
    """
    where = Path(path)
    what = f"'{where.name}' is no file of tested networks"
    hint = "docs/adaptive.md shows one"
    try:
        with where.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise UsageError(what, at=str(where), why=f"it is over {_MOST_BYTES} bytes")
        text = raw.decode()
        fields = json.loads(text) if where.suffix == ".json" else tomllib.loads(text)
        found = msgspec.convert(fields, _File)
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise UsageError(what, at=str(where), why=str(error), hint=hint) from error
    if found.schema != SCHEMA:
        why = f"it is of format {found.schema}, this splitc reads {SCHEMA}"
        raise UsageError(what, at=str(where), why=why)
    if not 1 <= len(found.networks) <= _MOST_NETWORKS:
        why = f"it has {len(found.networks)} networks"
        raise UsageError(what, at=str(where), why=why, hint=hint)
    return tuple(_trained(one, f"network {n} of {where}") for n, one in enumerate(found.networks))


def _trained(one: _Network, where: str) -> Trained:
    rates, reached = one.loss_rates, one.accuracy
    if len(rates) != len(reached) or len(set(rates)) != len(rates):
        why = f"{len(rates)} loss rates, {len(set(rates))} different, {len(reached)} accuracies"
        raise UsageError("every loss rate has one accuracy", at=where, why=why)
    if not all(map(math.isfinite, (*rates, *reached))):
        raise UsageError("loss rates and accuracies are finite", at=where)
    try:
        return Trained(one.cut, one.dropout_rate, dict(zip(rates, reached, strict=True)), one.bits)
    except UsageError as error:
        raise UsageError(error.what, at=where, why=error.why, hint=error.hint) from error


def write_tested(path: str | Path, networks: Iterable[Trained]) -> None:
    """Write networks as `read_tested` reads them, in JSON.

    Raises:
        UsageError: The name does not end in .json, or it cannot be written.
    """
    where = Path(path)
    if where.suffix != ".json":
        raise UsageError(f"'{where.name}' is written as JSON", hint="a name that ends in .json")
    made = [
        _Network(
            cut=one.cut, dropout_rate=one.dropout_rate, bits=one.bits,
            loss_rates=tuple(one.accuracy), accuracy=tuple(one.accuracy.values()),
        )
        for one in networks
    ]  # fmt: skip
    fields = msgspec.to_builtins(_File(schema=SCHEMA, networks=tuple(made)))
    try:
        where.write_text(json.dumps(fields, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {where}", why=str(error)) from error
