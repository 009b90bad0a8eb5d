"""Sphinx: pages in MyST Markdown, one generated page per public name, notebooks as they are committed."""

import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import bayesmix  # noqa: E402

project = "bayesmix"
author = "The bayesmix developers"
copyright = "2026, The bayesmix developers"
version = release = bayesmix.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc"]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

# Both folders are made anew by each build, so that a name or notebook that went leaves no page behind.
for folder in ("generated", "notebooks"):
    shutil.rmtree(DOCS / folder, ignore_errors=True)
(DOCS / "notebooks").mkdir()
for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
    shutil.copy2(notebook, DOCS / "notebooks")  # Sphinx reads below its own folder only
nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]

autosummary_generate = True
# Of scikit-learn's, whose docstrings refer to its own pages.
autodoc_default_options = {"exclude-members": "get_metadata_routing, set_fit_request, set_score_request"}
autodoc_typehints = "none"  # numpydoc shows the types written in the docstring
numpydoc_show_class_members = False  # the class template lists them
default_role = "code"

html_theme = "pydata_sphinx_theme"
html_title = "bayesmix"
html_show_sourcelink = False
html_sidebars = {"**": []}  # the pages are few: the bar at the top lists them
html_theme_options = {"show_prev_next": False, "header_links_before_dropdown": 9}
