# SPDX-License-Identifier: Apache-2.0
"""Memory for tensors between kernels: whole large pages, where it fills one."""

from __future__ import annotations

import pytest

from splitc.runtime.memory import zeroed

LARGE = 2**21


@pytest.mark.parametrize("size", [LARGE, LARGE + 1, 3 * LARGE - 64])
def test_what_fills_a_large_page_begins_with_one_and_ends_within_one(size: int) -> None:
    block = zeroed(size)
    assert len(block) == size
    assert block.ctypes.data % LARGE == 0
    # The rest of its last large page is its own: nothing else lies there.
    assert block.base is not None
    beyond = -size % LARGE
    assert block.base.nbytes - (block.ctypes.data - block.base.ctypes.data) - size >= beyond
    assert not block.any()
    block[:] = 1
    assert block.sum() == size


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (LARGE - 1, LARGE - 1)])
def test_less_takes_no_more_than_it_is(asked: int, given: int) -> None:
    assert len(zeroed(asked)) == given
