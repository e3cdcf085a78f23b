"""The documentation site: ``make docs`` builds it from README, docs/ and the docstrings, without a network."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import sepclr_neuro

sys.path.insert(0, str(Path(__file__).parent / "site"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
logging.getLogger("sepclr_neuro").setLevel("WARNING")  # progress of trainings would stand among Sphinx's messages

project = "sepclr_neuro"
author = "the sepclr_neuro developers"
project_copyright = author
version = release = sepclr_neuro.__version__

# The source folder is the project's root, so that links between README, docs/ and other files hold as on GitHub.
root_doc = "docs/index"
include_patterns = ["*.md", "config/README.md", "docs/**"]
exclude_patterns = ["docs/gallery/**"]  # these are read by sphinx-gallery alone, which writes docs/built/gallery
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.githubpages",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "pages",
]
APART = ("docs/notebook/", "docs/tried_and_failed")  # linked at the end of the first page, in no table of contents

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# Pages are Markdown as the platform shows it: a line that begins with % is text.
myst_disable_syntax = ["myst_line_comment", "myst_block_break", "myst_target", "myst_role"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say it in words; signatures with all types are wider than a screen
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "docs/gallery",
    "gallery_dirs": "docs/built/gallery",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "capture_repr": (),  # what is printed, not the value of each last line
    "abort_on_example_error": True,
    "doc_module": (),
}

html_title = f"sepclr_neuro {version}"
html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["site/static"]
html_extra_path = ["site/root"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False


def stand_apart(app: Any, doctree: Any) -> None:
    """The history of the project is no part of the table of contents."""
    if app.env.docname.startswith(APART):
        app.env.metadata[app.env.docname]["orphan"] = ""


def to_built_gallery(app: Any, name: str, source: list[str]) -> None:
    """A page links to the gallery's folder, where it leads on GitHub; here the examples have been run."""
    source[0] = source[0].replace("gallery/README.rst)", "built/gallery/index.rst)")


def setup(app: Any) -> None:
    app.connect("source-read", to_built_gallery)
    app.connect("doctree-read", stand_apart)
