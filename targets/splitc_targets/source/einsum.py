# SPDX-License-Identifier: Apache-2.0
"""Einsum as transposes, matrix products and sums, two operands at a time.

A letter that two operands share is a dimension of a batch where it lives on, in the result or in
an operand still to come, and is summed over in a matrix product where it does not. What only one
operand has is summed over before. So the products are those that rules know, attention's too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from splitc_targets.source.draft import Draft, Node

_SUMS_READ_AXES = 13
"""The opset from which ReduceSum reads its axes."""

_TYPES = frozenset(("float16", "float32", "float64", "int32", "int64", "uint32", "uint64"))
"""Types that sums and products take."""

_ELLIPSIS = "..."


@dataclass(frozen=True)
class Term:
    """A tensor and the letters of its dimensions.

    Args:
        name: The tensor.
        letters: One a dimension; those of an ellipsis are the numbers from its end.
        stored: Whether it is a constant.
    """

    name: str
    letters: tuple[str, ...]
    stored: bool = False


def einsum(node: Node) -> bool:
    """Einsum of fixed shapes, its equation with or without a result."""
    draft, count = node.draft, len(node.proto.input)
    shapes = [node.shape(k) for k in range(count)]
    if draft.opset < _SUMS_READ_AXES or node.dtype() not in _TYPES:
        return False
    fixed = [shape for shape in shapes if shape is not None]
    if len(fixed) < count or any(0 in shape for shape in fixed):
        return False
    read = _read(node.given["equation"], [len(shape) for shape in fixed])
    if read is None:
        return False
    letters, result = read
    extents = _extents(letters, fixed)
    if extents is None or not {*result} <= extents.keys():
        return False
    stored = [node.input(k) in draft.stored for k in range(count)]
    terms = [Term(node.input(k), each, stored[k]) for k, each in enumerate(letters)]
    writer = _Writer(draft, extents)
    writer.write([writer.plain(term) for term in terms], result, node.output(0))
    return True


def _read(
    equation: str, ranks: Sequence[int]
) -> tuple[list[tuple[str, ...]], tuple[str, ...]] | None:
    """The letters of each operand and of the result; None where the equation is not clear."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    words = given.split(",")
    if len(words) != len(ranks):
        return None
    terms = [_letters(word, rank) for word, rank in zip(words, ranks, strict=True)]
    known = [term for term in terms if term is not None]
    if len(known) < len(terms):
        return None
    wide = max((sum(len(each) > 1 for each in term) for term in known), default=0)
    if not arrow:
        every = [each for term in known for each in term if len(each) == 1]
        once = sorted(each for each in every if every.count(each) == 1)
        if len({each.isupper() for each in once}) > 1:
            return None  # which comes first is told nowhere
        result = _ELLIPSIS + "".join(once)
    rest = len(result.replace(_ELLIPSIS, ""))
    made = _letters(result, rest + wide if _ELLIPSIS in result else rest)
    return None if made is None or len(set(made)) < len(made) else (known, made)


def _letters(word: str, rank: int) -> tuple[str, ...] | None:
    """One a dimension; of an ellipsis, "...0" for its last dimension, and so on."""
    before, dots, behind = word.partition(_ELLIPSIS)
    if not (before + behind).isalpha() and before + behind:
        return None
    among = rank - len(before) - len(behind)
    if among < 0 or (among and not dots):
        return None
    return (*before, *(f"{_ELLIPSIS}{k}" for k in reversed(range(among))), *behind)


def _extents(
    letters: Sequence[tuple[str, ...]], shapes: Sequence[tuple[int, ...]]
) -> dict[str, int] | None:
    """The extent of each letter: 1 is broadcast to another; None where two others differ."""
    found: dict[str, int] = {}
    for term, shape in zip(letters, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            known = found.get(letter, 1)
            if 1 not in (known, size) and known != size:
                return None
            found[letter] = max(known, size)
    return found


class _Writer:
    """Adds the nodes of one equation.

    Args:
        draft: The graph.
        extents: Of each letter.
    """

    def __init__(self, draft: Draft, extents: Mapping[str, int]) -> None:
        self.draft, self.extents = draft, extents

    def plain(self, term: Term) -> Term:
        """A term with each letter once, and none that it only repeats itself along."""
        shape = self.draft.shape(term.name) or ()
        kept = [k for k, each in enumerate(term.letters) if shape[k] == self.extents[each]]
        if len(kept) < len(shape):
            name = self.shaped(term.name, [shape[k] for k in kept])
            term = Term(name, tuple(term.letters[k] for k in kept), term.stored)
        while len(set(term.letters)) < len(term.letters):
            twice = next(each for each in term.letters if term.letters.count(each) > 1)
            term = self.diagonal(term, twice)
        return term

    def diagonal(self, term: Term, letter: str) -> Term:
        """A term that has a letter once less: the elements where two of its places are one."""
        first, second = [k for k, each in enumerate(term.letters) if each == letter][:2]
        rest = [k for k in range(len(term.letters)) if k not in (first, second)]
        size = self.extents[letter]
        turned = self.draft.add("Transpose", term.name, perm=[*rest, first, second])
        letters = tuple(term.letters[k] for k in rest)
        outer = [self.extents[each] for each in letters]
        flat = self.shaped(turned, [*outer, size * size])
        ends = ([0], [size * size], [len(outer)], [size + 1])
        places = [self.draft.constant(np.array(each, np.int64)) for each in ends]
        return Term(self.draft.add("Slice", flat, *places), (*letters, letter), term.stored)

    def write(self, terms: list[Term], result: tuple[str, ...], output: str) -> None:
        """Multiply terms till one is left, and have it in the result's order."""
        while len(terms) > 1:
            terms = [self.summed(term, _others(terms, term, result)) for term in terms]
            left, right = self.next_pair(terms, result)
            rest = [term for term in terms if term is not left and term is not right]
            alive = {*result, *(each for term in rest for each in term.letters)}
            terms = [*rest, self.product(left, right, alive, result)]
        (last,) = terms
        self.ordered(self.summed(last, {*result}), result, output)

    def next_pair(self, terms: Sequence[Term], result: Iterable[str]) -> tuple[Term, Term]:
        """The two whose product is the smallest, of equals the first."""

        def size(pair: tuple[Term, Term]) -> int:
            rest = [each for term in terms if term not in pair for each in term.letters]
            both = {*pair[0].letters, *pair[1].letters}
            return math.prod(self.extents[each] for each in both & {*result, *rest})

        return min(itertools.combinations(terms, 2), key=size)

    def summed(self, term: Term, alive: set[str]) -> Term:
        """A term without the letters that nothing else has."""
        axes = [k for k, each in enumerate(term.letters) if each not in alive]
        if not axes:
            return term
        along = self.draft.constant(np.array(axes, np.int64))
        name = self.draft.add("ReduceSum", term.name, along, keepdims=0)
        return Term(name, tuple(each for each in term.letters if each in alive), term.stored)

    def product(self, left: Term, right: Term, alive: set[str], result: Sequence[str]) -> Term:
        """The product of two terms, summed over what neither the result nor others have."""
        common = [each for each in left.letters if each in right.letters]
        batch = [each for each in common if each in alive]
        summed = [each for each in common if each not in alive]
        if _turned(left, right, batch, result):
            left, right = right, left
        own, other = (
            [each for each in term.letters if each not in common] for term in (left, right)
        )
        made = (*batch, *own, *other)
        if not summed:
            wide = (len(batch), len(own), len(other))
            name = self.draft.add(
                "Mul", self.spread(left, [*batch, *own], wide[2]),
                self.spread(right, [*batch, *other], 0, (wide[0], wide[1])),
            )  # fmt: skip
            return Term(name, made)
        # Products by weights keep the dimensions before the last; those of batches are of two.
        apart = [[each] for each in own] if not batch else [own]
        name = self.draft.add(
            "MatMul", self.grouped(left, [*([each] for each in batch), *apart, summed]),
            self.grouped(right, [*([each] for each in batch), summed, other]),
        )  # fmt: skip
        return Term(self.shaped(name, self.sizes_of(made)), made)

    def spread(
        self, term: Term, order: Sequence[str], behind: int, among: tuple[int, int] = (0, 0)
    ) -> str:
        """A term in an order, with dimensions of one element behind it, or among, after a place."""
        name, sizes = self.permuted(term, order), self.sizes_of(order)
        place, count = among
        return self.shaped(name, [*sizes[:place], *[1] * count, *sizes[place:], *[1] * behind])

    def grouped(self, term: Term, groups: Sequence[Sequence[str]]) -> str:
        """A term in an order, the letters of each group as one dimension."""
        name = self.permuted(term, [each for group in groups for each in group])
        if all(len(group) == 1 for group in groups):
            return name
        return self.shaped(name, [math.prod(self.sizes_of(group)) for group in groups])

    def ordered(self, term: Term, order: Sequence[str], output: str) -> None:
        """The result itself, under its name."""
        name = self.permuted(term, order)
        self.draft.add("Identity", name, output=output)

    def permuted(self, term: Term, order: Sequence[str]) -> str:
        """A term's tensor with its letters in an order."""
        if tuple(order) == term.letters:
            return term.name
        return self.draft.add("Transpose", term.name, perm=[term.letters.index(k) for k in order])

    def shaped(self, name: str, sizes: Sequence[int]) -> str:
        """A tensor under another shape."""
        return self.draft.add("Reshape", name, self.draft.constant(np.array(sizes, np.int64)))

    def sizes_of(self, letters: Iterable[str]) -> list[int]:
        """Their extents."""
        return [self.extents[each] for each in letters]


def _others(terms: Sequence[Term], own: Term, result: Iterable[str]) -> set[str]:
    """The letters that the result or another term has."""
    return {*result, *(each for term in terms if term is not own for each in term.letters)}


def _turned(left: Term, right: Term, batch: Sequence[str], result: Sequence[str]) -> bool:
    """Whether two factors change places: constants are the second, else as the result has them."""
    if left.stored != right.stored:
        return left.stored
    own = [each for each in result if each in {*left.letters, *right.letters} - {*batch}]
    return bool(own) and own[0] in right.letters
