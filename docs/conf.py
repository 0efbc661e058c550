"""Sphinx: how the pages of this folder become a site, in English and, below `fr`, in French. `make docs` builds it
beside the broker that serves it, and a warning is an error.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

project = "Unefois"
author = "The Unefois contributors"
project_copyright = "The Unefois contributors, EUPL-1.2"
language = "en"

extensions = ["myst_parser", "generated", "strict"]
exclude_patterns = ["_ext"]
locale_dirs = ["locales"]
gettext_compact = False
templates_path = ["_templates"]
myst_heading_anchors = 3
# Names of options and of domains keep their dashes: no typographic rewriting.
smartquotes = False
nitpicky = True

html_theme = "furo"
html_title = "Unefois"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
