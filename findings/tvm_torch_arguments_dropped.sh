#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# TVM's importer of torch.export programs computes another network without a word: it leaves out
# arguments that it does not read.
#
# `alpha` of torch.add, the scale of SELU (which torch.export writes as elu with a scale), and the
# places that max_pool2d gives beside the largest values are not computed: x + x, ELU without the
# scale, and noughts come out. The grid of grid_sample is handed on as [N, H, W, 2] to a Relax
# operator that takes [N, 2, H, W]: where H is 2 the shapes of the grid fit all the same, and other
# pixels are taken, or a result of another shape is given.
#
# Versions: apache-tvm 0.27.0.post1, torch 2.13.0, numpy 2.4.6, Python 3.11, x86-64.
# Output seen:
#   add, alpha=0.5      1.50 of 1       TVM 2.00
#   SELU of -1          -1.1113         TVM -1.0577
#   places of a pool    5, 7, 13, 15    TVM 0, 0, 0, 0
#   grid_sample         1x1x3x4         TVM 1x1x4x2
#
# Consequence: hold each argument of each operator against what its converter reads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install apache-tvm==0.27.0.post1 numpy==2.4.6 torch==2.13.0
"$folder/venv/bin/python" -W ignore - <<'EOF'
import torch
import tvm
from torch import nn
from torch.nn import functional
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


def both(function, *tensors):
    program = torch.export.export(Call(function), tensors)
    lowered = from_exported_program(program, unwrap_unit_return_tuple=True)
    machine = relax.VirtualMachine(relax.build(lowered, tvm.target.Target("llvm")), tvm.cpu())
    made = machine["main"](*[tvm.runtime.tensor(each.numpy()) for each in tensors])
    return function(*tensors).numpy(), made.numpy()


def shown(value):
    return "x".join(map(str, value.shape))


one = torch.ones(1)
added = both(lambda x: torch.add(x, x, alpha=0.5), one)
print(f"add, alpha=0.5      {added[0][0]:.2f} of 1       TVM {added[1][0]:.2f}")
selu = both(functional.selu, -one)
print(f"SELU of -1          {selu[0][0]:.4f}         TVM {selu[1][0]:.4f}")
square = torch.arange(16.0).reshape(1, 1, 4, 4)
places = both(lambda x: functional.max_pool2d(x, 2, return_indices=True)[1], square)
listed = [", ".join(str(int(n)) for n in each.ravel()) for each in places]
print(f"places of a pool    {listed[0]}    TVM {listed[1]}")
grid = torch.zeros(1, 3, 4, 2)
sampled = both(lambda x, g: functional.grid_sample(x, g, align_corners=True), square, grid)
print(f"grid_sample         {shown(sampled[0])}         TVM {shown(sampled[1])}")
same = abs(added[1][0] - 2) < 1e-6 and abs(selu[1][0] + 1.0577) < 1e-3
same = same and not places[1].any() and sampled[0].shape != sampled[1].shape
raise SystemExit(0 if same else 1)
EOF
