# SPDX-License-Identifier: Apache-2.0
"""Build many bundles: what is current stays, what the cache has is copied, the rest is compiled."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from splitc.builds.build_file import entries_of, read_build_file
from splitc.builds.entry import Entry
from splitc.builds.inputs import Stamp
from splitc.builds.key import Key, together
from splitc.builds.messages import Began, Done, Failure, Group
from splitc.builds.plan import Planned, groups_of, look, usual_jobs
from splitc.builds.pool import Pool
from splitc.builds.record import forget, write_record
from splitc.bundle.bundle import Bundle
from splitc.errors import GateError, SplitcError, UsageError
from splitc.figures.gate import Gate, Verdict, judge, parse_gates
from splitc.figures.values import of_bundle

if TYPE_CHECKING:
    from splitc.builds.cache import Cache

State = Literal["built", "cached", "current", "planned", "failed"]


class Compilers(Protocol):
    """What compiles groups of bundles: processes here, or machines of a cluster."""

    def each(self, groups: Sequence[Group]) -> Generator[Began | Done]:
        """What is said of each bundle, as it is said."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one bundle.

    Args:
        entry: What was asked.
        state: `built`; `cached`, copied out of the cache; `current`, left as it was; `planned`,
            would be built or copied; or `failed`.
        key: Of its build; None where its inputs are not known, or are wrong.
        why: Why it was not current, in words.
        seconds: How long it took to compile.
        notes: What to know of it.
        failure: Why it failed.
        gates: What became of the gates that the bundle has to pass; one that fails stays.
    """

    entry: Entry
    state: State
    key: Key | None
    why: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    gates: tuple[Verdict, ...] = ()

    @property
    def there(self) -> bool:
        """Whether there is a bundle."""
        return self.state in ("built", "cached", "current")

    @property
    def passed(self) -> bool:
        """Whether it passed its gates."""
        return all(one.passed for one in self.gates)


@dataclass(frozen=True)
class Builds:
    """What became of all bundles, in the order in which they were asked for.

    Args:
        outcomes: One for each.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def key(self) -> str:
        """One digest of all the keys, for caches of CI."""
        return together(each.key for each in self.outcomes)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that failed."""
        return tuple(each for each in self.outcomes if each.failure is not None)

    @property
    def exit_code(self) -> int:
        """That of the first failure; 9 where there is none and a gate fails; 0 otherwise."""
        codes = [each.failure.exit_code for each in self.outcomes if each.failure is not None]
        gates = 0 if all(each.passed for each in self.outcomes) else GateError.exit_code
        return codes[0] if codes else gates


def build_all(
    bundles: str | Path | Sequence[Entry] | Sequence[Mapping[str, Any]],
    *,
    jobs: int | None = None,
    cache: str | Path | None = None,
    ray: str | None = None,
    fail_on: Sequence[str] = (),
    dry_run: bool = False,
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
    done: Callable[[Outcome], None] = lambda outcome: None,
) -> Builds:
    """Build many bundles, and nothing twice.

    A bundle whose key is the one that it was built with stays as it is. What was interrupted
    goes on where it was: a bundle that is there is whole.

    Args:
        bundles: The path of a file with `[[bundle]]` tables, such tables, or entries.
        jobs: How many processes compile; by default one a core, as memory allows.
        cache: A folder of finished bundles by their keys, read and filled.
        ray: The address of a Ray cluster that compiles; None for processes on this machine.
        fail_on: Gates that every bundle has to pass, besides its own.
        dry_run: Say what would be built and why, and build nothing.
        force: Build what is current and what is in the cache too.
        progress: Called with what begins, in words.
        done: Called with what became of a bundle, as soon as it is known.

    Returns:
        What became of each. One that fails stops no other.

    Raises:
        UsageError: The file is malformed, names an option that there is none of, or two bundles
            in one place; or a gate is malformed.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}", hint="at least 1")
    entries = _entries(bundles)
    gates = [parse_gates((*fail_on, *entry.fail_on), "compile") for entry in entries]
    planned = look(entries)
    build = _Build(gates, _cache(cache), progress, done)
    wanted: list[Planned] = []
    for each in planned:
        why = each.why or ("forced" if force else "")
        if each.failure is not None or not why:
            build.tell(each.number, _found(each))
        elif dry_run:
            why = build.whence(each, why)
            build.tell(each.number, Outcome(each.entry, "planned", each.key, why))
        elif force or not build.taken(each):
            wanted.append(replace(each, why=why))
    if wanted:
        count = jobs or usual_jobs([each.entry for each in wanted])
        build.compile(wanted, groups_of(wanted, count), _compilers(ray, count))
    return Builds(tuple(build.found[number] for number in range(len(entries))))


def _cache(folder: str | Path | None) -> Cache | None:
    if folder is None:
        return None
    from splitc.builds.cache import Cache

    return Cache(Path(folder))


def _compilers(ray: str | None, count: int) -> Compilers:
    if ray is None:
        return Pool(count)
    from splitc.builds.cluster import ClusterPool

    return ClusterPool(ray)


def _entries(
    bundles: str | Path | Sequence[Entry] | Sequence[Mapping[str, Any]],
) -> tuple[Entry, ...]:
    if isinstance(bundles, str | Path):
        return read_build_file(Path(bundles))
    tables = [each for each in bundles if not isinstance(each, Entry)]
    entries = [each for each in bundles if isinstance(each, Entry)]
    return (*entries, *entries_of(tables, Path()))


def _found(each: Planned) -> Outcome:
    if each.failure is not None:
        return Outcome(each.entry, "failed", None, failure=each.failure)
    return Outcome(each.entry, "current", each.key)


@dataclass
class _Build:
    """One build on its way: what was found of each bundle so far, by its number."""

    gates: Sequence[tuple[Gate, ...]]
    cache: Cache | None
    progress: Callable[[str], None]
    done: Callable[[Outcome], None]
    found: dict[int, Outcome] = field(default_factory=dict[int, Outcome])

    def tell(self, number: int, outcome: Outcome) -> None:
        """Something became of a bundle: hold its gates against it."""
        gates = self.gates[number]
        if outcome.there and gates:
            try:
                found = of_bundle(Bundle.open(outcome.entry.output))
                outcome = replace(outcome, gates=judge(gates, found))
            except SplitcError as error:
                outcome = replace(outcome, state="failed", failure=Failure.of(error))
        self.found[number] = outcome
        self.done(outcome)

    def _kept(self, each: Planned) -> bool:
        """Whether a bundle may come out of the cache: what is measured differs each time."""
        return self.cache is not None and each.key is not None and not each.entry.options.tune

    def whence(self, each: Planned, why: str) -> str:
        """Why a bundle is not current, and where it would come from."""
        if self.cache is not None and each.key is not None and self.cache.has(each.key.digest):
            return f"{why}; in the cache"
        return why

    def taken(self, each: Planned) -> bool:
        """Take a bundle out of the cache; whether it was there. One that was altered fails."""
        if self.cache is None or each.key is None or not self._kept(each):
            return False
        if not self.cache.has(each.key.digest):
            return False
        self.progress(f"{each.entry.named}: out of the cache")
        outcome = Outcome(each.entry, "cached", each.key, each.why)
        try:
            forget(each.entry.output)
            self.cache.take(each.key.digest, each.entry.output)
            write_record(each.entry.output, each.key, each.inputs)
        except SplitcError as error:
            outcome = replace(outcome, state="failed", failure=Failure.of(error))
        self.tell(each.number, outcome)
        return True

    def compile(
        self, wanted: Sequence[Planned], groups: Sequence[Group], compilers: Compilers
    ) -> None:
        """Compile bundles, and write down what they were built from as they are done."""
        by_number = {each.number: each for each in wanted}
        for each in wanted:
            # Whoever is killed from here on has not said what the output was built from.
            forget(each.entry.output)
        with closing(compilers.each(groups)) as said:
            for one in said:
                each = by_number[one.number]
                if isinstance(one, Began):
                    self.progress(f"{each.entry.named}: {one.step}")
                else:
                    self.tell(one.number, self._built(each, one))

    def _built(self, each: Planned, done: Done) -> Outcome:
        outcome = Outcome(
            each.entry, "built", each.key, each.why, done.seconds, done.notes, done.failure
        )
        if done.failure is not None:
            return replace(outcome, state="failed")
        if each.key is None:
            return outcome
        if any(_changed(path, known.stamp) for path, known in each.inputs.items()):
            note = "a file that it is built from changed on the way: build again"
            return replace(outcome, notes=(*done.notes, note))
        try:
            write_record(each.entry.output, each.key, each.inputs)
            if self.cache is not None and self._kept(each):
                self.cache.put(each.key.digest, each.entry.output)
        except SplitcError as error:
            return replace(outcome, state="failed", failure=Failure.of(error))
        return outcome


def _changed(path: str, stamp: Stamp) -> bool:
    try:
        return Stamp.of(Path(path)) != stamp
    except OSError:
        return True
