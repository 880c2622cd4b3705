# SPDX-License-Identifier: Apache-2.0
"""Passes that rewrite nothing and note something: which layers belong together."""
