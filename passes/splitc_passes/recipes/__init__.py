# SPDX-License-Identifier: Apache-2.0
"""Recipes: passes with the stages that train what they insert."""
