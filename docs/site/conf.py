# SPDX-License-Identifier: Apache-2.0
"""How Sphinx reads the sources that `docs/site/build_site.py` lays out."""

from splitc.version import __version__

project = "splitc"
author = "the splitc authors"
copyright = "the splitc authors, Apache-2.0"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "side_by_side",
]
exclude_patterns = ["files"]
default_role = "code"
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"splitc {__version__}"
html_static_path = ["static"]
html_css_files = ["splitc.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
