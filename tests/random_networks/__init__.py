# SPDX-License-Identifier: Apache-2.0
"""Random ONNX networks over most operators, and what must be true of each.

`network` builds one and knows its values; `windows`, `elementwise`, `moves`, `sums` and
`quantised` append operators of a family; `strategy` draws whole networks; `differential` runs
them through splitc and compares.
"""
