# SPDX-License-Identifier: Apache-2.0
"""From object files to what ships: zig, TVM's runtime libraries, their cache."""
