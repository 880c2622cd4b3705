# SPDX-License-Identifier: Apache-2.0
"""Code generation with Apache TVM: boards, kernels, rules, linking, runner."""

from pathlib import Path

from splitc.plugins import Plugin

PLUGIN = Plugin(
    backends={"tvm": "splitc_targets.backend:TvmBackend"},
    checks={"targets": "splitc_targets.checks:checks"},
    estimators={"kernels": "splitc_targets.estimate.network:Kernels"},
    boards=(Path(__file__).parent / "boards",),
)
