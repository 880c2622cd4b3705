# SPDX-License-Identifier: Apache-2.0
"""From object files to what ships: zig, the runner, and the cache of what is built once."""
