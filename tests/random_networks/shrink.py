# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A failing network made small: operators go, what they made is given in their place."""

from __future__ import annotations

from collections.abc import Callable

from onnx import NodeProto

from tests.random_networks.network import Network


def without(network: Network, node: NodeProto) -> Network | None:
    """The network without an operator; None where nothing is left."""
    made = Network(network.opset, network.seed, network.special)
    made.nodes = [other for other in network.nodes if other is not node]
    results = {name for other in made.nodes for name in other.output}
    made.values, made.stored = network.values, network.stored
    read = {name: None for other in made.nodes for name in other.input if name}
    made.inputs = [name for name in read if name not in results and name not in made.stored]
    made.outputs = [name for name in results if name in network.outputs or name not in read]
    return made if made.outputs else None


def smallest(network: Network, fails: Callable[[Network], bool]) -> Network:
    """A network that still fails, and does so without any one of its operators no more."""
    for node in list(network.nodes):
        fewer = without(network, node)
        if fewer is not None and fails(fewer):
            network = fewer
    return network
