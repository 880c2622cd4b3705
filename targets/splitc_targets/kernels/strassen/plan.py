# SPDX-License-Identifier: Apache-2.0
"""Which products Strassen's algorithm computes, how they are cut, and what they cost."""

from __future__ import annotations

from splitc_targets.kernels.product.candidates import beside_memory
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.winograd.plan import Plan, Work, cut, cycles
from splitc_targets.machine.machine import Machine

POSITIONS = 7
"""Products of halves."""


def supported(conv: Conv, machine: Machine) -> bool:
    """Whether the algorithm computes this convolution on a machine: 1x1, in whole vectors.

    Only where a multiply-add takes a lane of a register: what it saves is small, and was not tried
    on x86-64, whose cores multiply quicker than they load and store.
    """
    return (
        machine.lane_fma and conv.kernel == (1, 1) and conv.groups == 1 and conv.x_channel == 1
        and conv.w_image == 0 and conv.pad == (0, 0)
        and (conv.out_height - 1) * conv.stride[0] < conv.height
        and (conv.out_width - 1) * conv.stride[1] < conv.width
        and conv.out_height * conv.out_width > 1
        and conv.channels % (2 * machine.lanes) == 0
        and conv.out_channels % (2 * machine.lanes) == 0
    )  # fmt: skip


def plan(conv: Conv, machine: Machine) -> Plan:
    """The chunks; a tile is two pixels of an image, one after the other."""
    pairs = -(-conv.out_height * conv.out_width // 2)
    half = conv.channels // 2
    return cut(
        Work(
            1, 1, pairs, conv.batch * pairs, POSITIONS, POSITIONS, half, depth=half,
            out_channels=conv.out_channels // 2, border=0,
            into=(4.0, 4.0 + POSITIONS), out=(10.0, 4.0 + 3 * POSITIONS), flops=conv.flops,
        ),
        machine,
    )  # fmt: skip


def filter_size(conv: Conv, machine: Machine) -> int:
    """Elements of the weights as the kernel reads them."""
    return plan(conv, machine).filter_size(machine.lanes)


def predicted(conv: Conv, machine: Machine) -> float:
    """Predicted cycles, weights arriving from memory meanwhile.

    More than the model says by what it must be quicker: it needs scratch, and seven quarters of
    the weights.
    """
    made = plan(conv, machine)
    weight_bytes = 4 * made.filter_size(machine.lanes)
    return _MARGIN * beside_memory(weight_bytes, cycles(machine, made), machine)


_MARGIN = 1.03
"""How much faster the model must call it."""
