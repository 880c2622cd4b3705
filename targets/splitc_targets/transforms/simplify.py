# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Rewrites before rules choose: constants folded, identities dropped, normalisations merged."""

from __future__ import annotations

from splitc_targets.graph.graph import Graph
from splitc_targets.transforms.affine import merge_affine
from splitc_targets.transforms.casts import spell_cast
from splitc_targets.transforms.fold import drop_identities, fold
from splitc_targets.transforms.moves import name_moves
from splitc_targets.transforms.places import take_in_ends
from splitc_targets.transforms.recognise import (
    drop_nan_guards,
    guard_softmax,
    name_local_normalisation,
)
from splitc_targets.transforms.resizing import convolve_before_enlarging, drop_same_size
from splitc_targets.transforms.spelling import (
    pad_apart,
    spell,
    spell_batch_norm,
    spell_prelu,
    spell_variance,
    unstack,
)


def simplify(graph: Graph) -> None:
    """Rewrite a graph in place until rules see one node for each thing that they know."""
    fold(graph)
    drop_identities(graph)
    name_local_normalisation(graph)
    drop_nan_guards(graph)
    guard_softmax(graph)
    spell_cast(graph)
    unstack(graph)
    spell(graph)
    spell_variance(graph)
    spell_batch_norm(graph)
    fold(graph)
    spell_prelu(graph)
    name_moves(graph)
    take_in_ends(graph)
    drop_same_size(graph)
    merge_affine(graph)
    convolve_before_enlarging(graph)
    pad_apart(graph)
    graph.prune()
