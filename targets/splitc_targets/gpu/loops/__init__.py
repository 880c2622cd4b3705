# SPDX-License-Identifier: Apache-2.0
"""What kernels of threads are written with."""
