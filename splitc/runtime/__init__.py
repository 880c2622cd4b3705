# SPDX-License-Identifier: Apache-2.0
"""What runs parts: their contract, their files held against it, processes and onnxruntime."""
