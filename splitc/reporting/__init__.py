# SPDX-License-Identifier: Apache-2.0
"""The report of a bundle: a page for people, Markdown for job summaries, from one data file."""
