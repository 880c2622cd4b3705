# SPDX-License-Identifier: Apache-2.0
"""What a build made, as GitHub-flavoured Markdown: for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from splitc.builds.compare import Compared
from splitc.builds.messages import Failure
from splitc.builds.run import Builds, Outcome
from splitc.figures.gate import Verdict
from splitc.figures.markdown import plain_markdown as plain
from splitc.figures.markdown import table
from splitc.reporting.make import report

_MOST_BYTES = 900_000
"""GitHub shows a summary of up to a mebibyte, and nothing of a longer one."""


def summary(builds: Builds, compared: Sequence[Compared] = ()) -> str:
    """What became of each bundle: what failed first, then reports and what changed.

    Args:
        builds: What was built.
        compared: The bundles beside the last release.

    Raises:
        BadBundleError: A bundle's manifest or the data of its report is damaged.
    """
    by_output = {each.outcome.entry.output: each for each in compared}
    sections = [*_failures(builds), *_gates(builds), *_worse(compared)]
    used, left_out = sum(len(one.encode()) for one in sections), 0
    for outcome in builds.outcomes:
        if not outcome.there:
            continue
        section = _bundle(outcome, by_output.get(outcome.entry.output))
        used += len(section.encode())
        if used > _MOST_BYTES:
            left_out += 1
        else:
            sections.append(section)
    if left_out:
        sections.append(f"{left_out:,} more bundles: the summary would be too long.")
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _failures(builds: Builds) -> Iterator[str]:
    failed = [(each, each.failure) for each in builds.outcomes if each.failure is not None]
    if failed:
        yield f"### {len(failed)} of {len(builds.outcomes)} bundles failed"
        yield "\n".join(_told(each, failure) for each, failure in failed)


def _worse(compared: Sequence[Compared]) -> Iterator[str]:
    failed = [(each.outcome, each.failure) for each in compared if each.failure is not None]
    if failed:
        yield f"### Beside the last release: {len(failed)} of {len(compared)} failed"
        yield "\n".join(_told(each, failure) for each, failure in failed)


def _told(outcome: Outcome, failure: Failure) -> str:
    lines = [f"{plain(outcome.entry.named)}: **{failure.error}**: {plain(failure.what)}"]
    pairs = {"at": failure.at, "why": failure.why, "hint": failure.hint}
    lines += [f"{label}: {plain(text)}" for label, text in pairs.items() if text]
    return "- " + "<br>".join(lines)


def _gates(builds: Builds) -> Iterator[str]:
    verdicts = [(each, one) for each in builds.outcomes for one in each.gates]
    failed = sum(not one.passed for _, one in verdicts)
    if verdicts:
        yield f"### {failed} of {len(verdicts)} gates failed" if failed else "### All gates passed"
        yield table(
            ("gate", "bundle", "found", ""),
            [
                (plain(one.gate), plain(each.entry.named), plain(one.why), _passed(one))
                for each, one in verdicts
            ],
            right=0,
        )


def _passed(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "**failed**"


def _bundle(outcome: Outcome, compared: Compared | None) -> str:
    notes = [f"- {plain(note)}" for note in outcome.notes]
    blocks = [report(outcome.entry.output, format="md"), "\n".join(notes)]
    if compared is not None and compared.diff is not None:
        blocks.append(compared.diff.markdown())
    elif compared is not None and compared.baseline is None:
        blocks.append("The last release has no such bundle.")
    return "\n\n".join(block.strip() for block in blocks if block)
