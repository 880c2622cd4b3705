# SPDX-License-Identifier: Apache-2.0
"""Fuzz the Python side, guided by coverage: `python -m tests.fuzz.python packets --seconds 60`.

By atheris (the extra `fuzz`), which is libFuzzer on Python's bytecode. What broke a promise is
printed, with the traceback, and left beside the corpus where one was named.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from splitc.errors import ToolchainError


def main() -> None:
    """Fuzz one target for a while; ends with an exit code other than 0 where it found something.

    Raises:
        ToolchainError: atheris is not installed.
    """
    try:
        import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
    except ImportError as error:
        raise ToolchainError("it needs atheris", hint="pip install 'splitc[fuzz]'") from error
    fuzzer: Any = atheris
    # Coverage is seen of what is imported within.
    with fuzzer.instrument_imports(include=["splitc"]):
        from tests.fuzz.hostile import TARGETS, seeds

    parser = argparse.ArgumentParser(description="Fuzz the Python side with atheris.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="folder with inputs that is added to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        corpus: Path = options.corpus or Path(scratch) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds(options.target)):
            (corpus / f"seed-{number}").write_bytes(seed)
        # atheris itself keeps some kB of each input; what a target may hold it looks at itself.
        limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-timeout=60",
                  "-rss_limit_mb=8192", f"-artifact_prefix={corpus}-"]  # fmt: skip
        TARGETS[options.target](b"")  # What it makes once is not to count as an input's time.
        fuzzer.Setup([sys.argv[0], str(corpus), *limits], TARGETS[options.target])
        fuzzer.Fuzz()


if __name__ == "__main__":
    main()
