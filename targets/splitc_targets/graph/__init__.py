# SPDX-License-Identifier: Apache-2.0
"""A part while code is made of it: operations, values, views, expressions; pure data."""
