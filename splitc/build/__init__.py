# SPDX-License-Identifier: Apache-2.0
"""The main job: from a network and a cut to a bundle's files, by backends."""
