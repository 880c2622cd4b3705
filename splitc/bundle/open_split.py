# SPDX-License-Identifier: Apache-2.0
"""Head and tail loaded, to be run one after the other, many times."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.errors import UsageError, nearest
from splitc.runtime.counted import kept_together
from splitc.runtime.manifest import Manifest, Route, Source, TensorSpec
from splitc.runtime.part import Part, run_by_name, stack_samples


class OpenSplit:
    """A split network that stays loaded: a function of its inputs, from any number of threads.

    Args:
        manifest: Of its bundle.
        routes: The routes whose parts are loaded; the first is taken where none is named.
        parts: Those parts, by their names.
        ran: What runs of each, in words, by its name.
    """

    def __init__(
        self, manifest: Manifest, routes: Sequence[Route], parts: Mapping[str, Part],
        ran: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._source = manifest.source
        self._routes = {route.name: route for route in routes}
        self._default = routes[0].name
        self._parts = parts
        self.ran = ran

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes that it can take."""
        return tuple(self._routes)

    def __call__(self, inputs: Arrays | Array, *, route: str | None = None) -> dict[str, Array]:
        """Run the parts of a route, in order.

        Args:
            inputs: Arrays by input name, or the one array of a one-input network,
                of the contract's shapes or all stacked along one more leading axis.
            route: Which way; by default the one that it was opened for, or the bundle's own.

        Returns:
            Arrays by result name. What is as long as values make it, a detector's boxes kept, has
            so many rows; of stacked inputs the contract's, those of -1 behind stand for nothing.

        Raises:
            UsageError: An input is missing, unknown, or of the wrong shape; there is no such
                route; or it is closed.
        """
        name = self._default if route is None else route
        if name not in self._routes:
            raise UsageError(f"there is no route '{name}'", hint=nearest(name, self._routes))
        feed, samples = read_feed(self._source.inputs, inputs)
        if samples is None:
            made = self._run(self._routes[name], feed)
            for names in self._source.counted:
                made |= zip(names, kept_together([made[name] for name in names]), strict=True)
            return made
        frames = ({n: array[k] for n, array in feed.items()} for k in range(samples))
        return stack_samples([self._run(self._routes[name], frame) for frame in frames])

    def stream(self, states: Mapping[str, str], *, route: str | None = None) -> Stream:
        """The split as a function that remembers: what a call gives, the next one begins from.

            with bundle.open_parts() as split:
                hear = split.stream({"h": "next_h", "c": "next_c"})
                for sound in sounds:
                    print(hear(sound))

        Args:
            states: For each input that is a state, the result that is the state afterwards.
            route: Which way; by default the one that it was opened for, or the bundle's own.

        Raises:
            UsageError: There is no such input or result, or they are of other shapes or types.
        """
        return Stream(self, self._source, states, route)

    def _run(self, route: Route, feed: Arrays) -> dict[str, Array]:
        made = dict(feed)
        for name in route.before:
            made |= run_by_name(self._parts[name], made)
        back = {spec.name: made[spec.name] for spec in route.crosses}
        for name in route.behind:
            back |= run_by_name(self._parts[name], back)
        # What the device makes is the network's own, also where a decoder makes it again.
        made = back | made
        return {spec.name: made[spec.name] for spec in self._source.outputs}

    def close(self) -> None:
        """Close the parts. A second time does nothing."""
        for part in self._parts.values():
            part.close()

    def __enter__(self) -> Self:
        """The split itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


class Stream:
    """A split network that is given its own states: calls are one sequence, in their order.

    Calls from several threads come one after the other.

    Args:
        split: The loaded network.
        source: What it takes and gives.
        states: For each input that is a state, the result that is the state afterwards.
        route: Which way through the split; None for its own.

    Raises:
        UsageError: There is no such input or result, or they do not fit each other.
    """

    def __init__(
        self, split: OpenSplit, source: Source, states: Mapping[str, str], route: str | None
    ) -> None:  # fmt: skip
        self._split, self._route, self._states = split, route, dict(states)
        self._takes = {spec.name: spec for spec in source.inputs}
        self._lock = threading.Lock()
        check_states(source, self._states)
        self.inputs = tuple(spec for spec in source.inputs if spec.name not in self._states)
        self._now: dict[str, Array] = {}
        self.reset()

    def reset(self, first: Arrays | None = None) -> None:
        """Begin a new sequence.

        Args:
            first: States to begin from, by the inputs' names; zeros for those left out.

        Raises:
            UsageError: One is no state, or of another shape or type.
        """
        given = dict(first or {})
        strange = next((name for name in given if name not in self._states), None)
        if strange is not None:
            raise UsageError(f"'{strange}' is no state", hint=nearest(strange, self._states))
        specs = tuple(self._takes[name] for name in given)
        read_feed(specs, given)
        with self._lock:
            self._now = {name: _zeros(self._takes[name]) for name in self._states}
            self._now |= {name: np.array(array) for name, array in given.items()}

    def __call__(self, inputs: Arrays | Array) -> dict[str, Array]:
        """Run the next frame, or frames stacked along one more leading axis one by one.

        Args:
            inputs: Arrays by name, without the states; or the one array.

        Returns:
            Arrays by result name, states too.

        Raises:
            UsageError: As of the split; the states are those before then.
        """
        feed, samples = read_feed(self.inputs, inputs)
        with self._lock:
            if samples is None:
                return self._next(feed)
            frames = [{n: array[k] for n, array in feed.items()} for k in range(samples)]
            return stack_samples([self._next(frame) for frame in frames])

    def _next(self, feed: Arrays) -> dict[str, Array]:
        made = self._split({**feed, **self._now}, route=self._route)
        self._now = {name: made[after] for name, after in self._states.items()}
        return made


def check_states(source: Source, states: Mapping[str, str]) -> None:
    """Hold inputs against the results that they are to be given.

    Raises:
        UsageError: There is no such input or result, or they are of other shapes or types.
    """
    takes = {spec.name: spec for spec in source.inputs}
    gives = {spec.name: spec for spec in source.outputs}
    for name, after in states.items():
        if name not in takes:
            raise UsageError(f"there is no input '{name}'", hint=nearest(name, takes))
        if after not in gives:
            raise UsageError(f"there is no result '{after}'", hint=nearest(after, gives))
        one, other = takes[name], gives[after]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            why = f"one is {one.dtype} {one.shape}, the other {other.dtype} {other.shape}"
            raise UsageError(f"result '{after}' is no state for input '{name}'", why=why)


def _zeros(spec: TensorSpec) -> Array:
    return np.zeros([extent or 0 for extent in spec.shape], spec.dtype)


def read_feed(specs: tuple[TensorSpec, ...], inputs: Any) -> tuple[Mapping[str, Array], int | None]:
    """Inputs by name, and how many samples they hold along one more axis; None for no such axis.

    Args:
        specs: The network's inputs.
        inputs: Arrays by name, or the one array. Whatever else somebody gives is refused.

    Raises:
        UsageError: An input is missing, unknown, no array, or of the wrong shape.
    """
    feed = _by_name(specs, inputs)
    counts: set[int | None] = set()
    for spec in specs:
        if spec.name not in feed:
            raise UsageError(f"no value for input '{spec.name}'")
        if not isinstance(feed[spec.name], np.ndarray | np.generic):
            raise _no_array(f"input '{spec.name}'", feed[spec.name], specs)
        array: Array = feed[spec.name]
        stacked = array.ndim == len(spec.shape) + 1
        if array.shape[stacked:] != spec.shape or array.dtype.name != spec.dtype:
            why = f"it is {array.dtype} {array.shape}, the contract {spec.dtype} {spec.shape}"
            raise UsageError(f"input '{spec.name}' does not fit", why=why)
        counts.add(len(array) if stacked else None)
    if len(feed) > len(specs):
        names = {spec.name for spec in specs}
        unknown = next(name for name in feed if name not in names)
        raise UsageError(f"there is no input '{unknown}'", hint=nearest(unknown, names))
    if len(counts) > 1 or 0 in counts:
        raise UsageError("the inputs hold different numbers of samples, or none")
    return feed, counts.pop() if counts else None


def _by_name(specs: tuple[TensorSpec, ...], inputs: Any) -> Mapping[str, Any]:
    """What was given for each input; one array alone is the one input's."""
    if isinstance(inputs, Mapping):
        return cast("Mapping[str, Any]", inputs)
    if not isinstance(inputs, np.ndarray):
        raise _no_array("the input", inputs, specs)
    if len(specs) != 1:
        names = ", ".join(s.name for s in specs)
        raise UsageError("give the inputs by name", why=f"the network has {names}")
    return {specs[0].name: cast("Array", inputs)}


def _no_array(what: str, given: Any, specs: Sequence[TensorSpec]) -> UsageError:
    """The error for a list, a tensor, a path: what it is, and how to give it."""
    kind = f"{type(given).__module__}.{type(given).__qualname__}".removeprefix("builtins.")
    if isinstance(given, str | os.PathLike):
        hint = "load it first: numpy.load(path); in a shell, splitc run BUNDLE --input FILE"
    elif hasattr(given, "detach"):
        hint = "give tensor.detach().cpu().numpy()"
    else:
        dtype = specs[0].dtype if specs else "float32"
        hint = f"numpy.asarray(values, '{dtype}'), or a dict of such arrays by input name"
    takes = ", ".join(f"'{spec.name}' {spec.dtype} {spec.shape}" for spec in specs)
    why = f"it takes numpy arrays: {takes}, alone or stacked along one more leading axis"
    return UsageError(f"{what} is no array but {kind}", why=why, hint=hint)
