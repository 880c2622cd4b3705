# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Places beyond a tensor, which come over a link or from a broken sensor, touch nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import splitc
from splitc.cost.board import load_board
from splitc_targets.backend import TvmBackend
from tests.targets.nets import Net, compiled, computed

FAR = 10**9
TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def by_places(op: str, places: Any, *more: Any, **attributes: Any) -> np.ndarray:
    net = Net(0, opset=18)
    x = net.input(values=np.array(places, np.int64))
    net.outputs = [net.op(op, TABLE, x, *more, **attributes)]
    proto = net.proto()
    (got,) = computed(compiled(proto), proto, net.inputs)
    return got


def test_rows_beyond_a_table_are_its_first_and_last() -> None:
    np.testing.assert_array_equal(by_places("Gather", [2, -1, FAR, -FAR]), TABLE[[2, 3, 3, 0]])


def test_elements_beyond_are_the_nearest_within() -> None:
    got = by_places("GatherElements", [[1, -1, FAR], [-FAR, 3, 0]], axis=0)
    np.testing.assert_array_equal(got, [[3, 10, 11], [0, 10, 2]])


def test_places_of_several_axes_are_each_within_its_own() -> None:
    got = by_places("GatherND", [[1, FAR], [FAR, 0], [-1, -1]])
    np.testing.assert_array_equal(got, [5, 9, 11])


def test_what_is_scattered_beyond_lands_within() -> None:
    new = np.full((1, 3), -1.0, np.float32)
    want = TABLE.copy()
    want[[3, 0, 3], [0, 1, 2]] = -1
    np.testing.assert_array_equal(by_places("ScatterElements", [[FAR, -FAR, -1]], new), want)
    rows = np.full((1, 3), -2.0, np.float32)
    want = TABLE.copy()
    want[3] = -2
    np.testing.assert_array_equal(by_places("ScatterND", [[FAR]], rows), want)


class Indexed(torch.nn.Module):
    def forward(self, x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[rows, columns] = 7.0
        return x[columns, rows]


@pytest.mark.parametrize(("rows", "columns"), [([1, -1], [2, -3]), ([FAR, -FAR], [1, 1])])
def test_torchs_places_count_from_either_end_and_stay_within(
    rows: list[int], columns: list[int]
) -> None:
    x, *places = torch.from_numpy(TABLE[:3]), torch.tensor(rows), torch.tensor(columns)
    model = splitc.load(Indexed(), (x, *(torch.zeros_like(each) for each in places)))
    backend = TvmBackend()
    assert not backend.unsupported(model)
    code = backend.compile(backend.lower(model), load_board("host"))
    (got,) = code.here()(*(each.numpy() for each in (x, *places)))
    if FAR in rows:
        assert set(got.tolist()) <= {*TABLE.ravel().tolist(), 7.0}
    else:
        np.testing.assert_array_equal(got, Indexed()(x, *places).numpy())


def test_a_region_of_a_sample_beyond_lies_in_the_last() -> None:
    net = Net(0, opset=16)
    maps, corners = net.random(2, 1, 4, 4), np.array([[0, 0, 3, 3]] * 2, np.float32)
    x, sample = net.input(values=maps), net.input(values=np.array([FAR, 1], np.int64))
    net.outputs = [net.op("RoiAlign", x, corners, sample, output_height=2, output_width=2)]
    proto = net.proto()
    (got,) = computed(compiled(proto), proto, net.inputs)
    np.testing.assert_array_equal(got[0], got[1])
