# SPDX-License-Identifier: Apache-2.0
"""From an ONNX model to one that TVM's front end reads rightly, or a named refusal."""
