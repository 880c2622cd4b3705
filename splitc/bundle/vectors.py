# SPDX-License-Identifier: Apache-2.0
"""Golden vectors read back from a bundle, held against their contracts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.errors import BadBundleError
from splitc.runtime.manifest import TensorSpec

MOST_SAMPLES = 64
"""In one bundle."""


def of_route(golden: Path, number: int, routes: int) -> Path:
    """Where the golden vectors lie that only one route has.

    Args:
        golden: The folder of a bundle's golden vectors.
        number: The route's place among the bundle's.
        routes: How many those are.
    """
    return golden if routes == 1 else golden / "routes" / str(number)


def read_vectors(folder: Path, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The golden vectors of a contract, samples along the first axis.

    A header is held against the contract before anything is read. Older bundles have one
    sample, and no axis for it.
    """
    found: dict[str, Array] = {}
    for k, spec in enumerate(specs):
        bad = BadBundleError(f"golden vector of '{spec.name}' does not fit its contract")
        try:
            with (folder / f"{k}.npy").open("rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise bad
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                samples = shape[0] if len(shape) == len(spec.shape) + 1 else 1
                one = shape[len(shape) - len(spec.shape) :]
                fits = spec.fits(one) and shape in (one, (samples, *one))
                if fortran or not fits or samples > MOST_SAMPLES or dtype.name != spec.dtype:
                    raise bad
                # An extent that the contract leaves open is only the header's word.
                if math.prod(shape) * dtype.itemsize > os.fstat(file.fileno()).st_size:
                    raise bad
                values = np.fromfile(file, dtype, count=math.prod(shape))
        except (OSError, ValueError) as error:
            raise bad from error
        if values.size != math.prod(shape):
            raise bad
        found[spec.name] = values.reshape(samples, *one)
    return found


def count_samples(arrays: Mapping[str, Array]) -> int:
    """How many samples the golden vectors hold."""
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or not 0 < min(counts) <= MOST_SAMPLES:
        raise BadBundleError("the golden vectors hold different numbers of samples, or none")
    return counts.pop()
