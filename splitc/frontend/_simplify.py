# SPDX-License-Identifier: Apache-2.0
"""Run onnxsim on a file under limits: `python -m splitc.frontend._simplify IN OUT BYTES SECONDS`.

A process of its own, because onnxsim executes parts of a model that may be
hostile, in native code that may crash.
"""

import resource
import sys


def main() -> None:
    """Limit this process, then simplify the file."""
    source, target, max_bytes, seconds = sys.argv[1:5]
    resource.setrlimit(resource.RLIMIT_AS, (int(max_bytes), int(max_bytes)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import onnxsim

    onnxsim.simplify(source, output_path=target, external_data_threshold="2GB")


if __name__ == "__main__":
    main()
