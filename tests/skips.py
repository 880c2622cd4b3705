# SPDX-License-Identifier: Apache-2.0
"""Which tests may be skipped where everything they need is to be had: under CI no others."""

from __future__ import annotations

import os
import re

import pytest

from tests.helpers import SHARED

RIGHT = (
    "refused, as it should",
    "onnxruntime refuses it",
    "onnxruntime cannot run it",
    "onnxruntime has none",
    "its results are random",
    "onnx has no case of it",
    "the model does not choose Winograd",
    "less than 8 GiB of memory free",
    "this kernel has no netem",
    "this processor has no products of bfloat16",
    "this processor has no products of bytes",
    "this processor has no products of tiles",
    "this processor has products of tiles",
)
"""How reasons begin that are no fault of the machine: the case has nothing to test."""
OPTIONAL = (
    "Ray is not installed",
    "atheris is not installed",
    "no container engine runs here",
    "the placement instances are not here",
)
"""How reasons begin that name what `make test` does not install: extras, a daemon, others' data."""
ABSENT = "shared data is not here"


class Guard:
    """Fails the session, where `CI` is set, on a skip for want of something that CI installs."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skip whose reason is not one of those."""
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if why_wrong(reason):
                self.wrong[report.nodeid] = reason

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a whole file that was skipped."""
        if report.skipped and isinstance(report.longrepr, tuple):
            self.wrong[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail what would pass."""
        if self.wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name them."""
        for test, reason in self.wrong.items():
            terminalreporter.write_line(f"SKIPPED WITHOUT NEED {test}: {reason}", red=True)


def why_wrong(reason: str) -> bool:
    """Whether a reason is none of those that are right anywhere."""
    if re.match(ABSENT, reason):
        return SHARED.is_dir()
    return not reason.startswith((*RIGHT, *OPTIONAL))


def guarded() -> bool:
    """Whether this run is CI's own, and not one of its workers, which report to it."""
    return os.environ.get("CI", "") not in ("", "0", "false") and (
        "PYTEST_XDIST_WORKER" not in os.environ
    )
