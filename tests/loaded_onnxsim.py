# SPDX-License-Identifier: Apache-2.0
"""Importing this imports onnxsim as its own process does."""

from splitc.frontend.onnx.run_onnxsim import import_onnxsim

import_onnxsim()
