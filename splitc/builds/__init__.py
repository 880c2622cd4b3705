# SPDX-License-Identifier: Apache-2.0
"""Many bundles from one file: nothing built twice, in processes beside each other."""

TABLES = "bundle"
"""What the tables of a build file are called: `[[bundle]]`."""
