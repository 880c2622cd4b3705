# SPDX-License-Identifier: Apache-2.0
"""The door to TVM: its front ends in, its build and export out."""
