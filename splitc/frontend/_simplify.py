# SPDX-License-Identifier: Apache-2.0
"""Run onnxsim on a file under limits, in a process of its own.

onnxsim executes parts of a model that may be hostile, in native code that may
crash. The process is started early, imports, and waits for one line on its
standard input: source, target, bytes and seconds as JSON.
"""

import json
import resource
import sys


def main() -> None:
    """Wait for the job, limit this process, simplify the file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import onnxsim

    line = sys.stdin.readline()
    if not line:
        return
    source, target, max_bytes, seconds = json.loads(line)
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    onnxsim.simplify(source, output_path=target, external_data_threshold="2GB")


if __name__ == "__main__":
    main()
