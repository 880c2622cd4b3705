# SPDX-License-Identifier: Apache-2.0
"""What emitted ARM code executes, and what a board would take for it, with no board at hand."""
