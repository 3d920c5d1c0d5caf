"""How Sphinx builds the site; `make docs` runs it."""

import os
import re
import sys
import warnings
from pathlib import Path

from sklperturb import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from _generated import MARK, fill_in  # noqa: E402  (it is beside this file)

# Diagrams in the gallery, whose pages are in a folder for each section, link to ours.
os.environ.setdefault("SKLPERTURB_DOCUMENTATION", "../..")

project = "sklperturb"
author = "The sklperturb developers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "_mathml",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"sklperturb {release}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
# All pages by task on the left, in place of a header that has room for five.
html_sidebars = {"**": ["pages.html"]}
smartquotes_action = "qe"  # quotes and ellipses; two hyphens begin an option
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_center": [],
    "logo": {"text": "sklperturb"},  # the version has no room on a phone
}

# Docstrings follow numpydoc. A name in single backticks links to the object, if any.
default_role = "autolink"
autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {
    # scikit-learn writes the docstrings of these, with links into its own manual.
    "exclude-members": ", ".join(
        f"set_{method}_request"
        for method in ("fit", "predict", "score", "transform", "inverse_transform")
    )
}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3


def format_warning(message, category, *place, **more):
    """Return a warning of an example without the path of whoever built the site."""
    return f"{category.__name__}: {message}\n"


warnings.formatwarning = format_warning

# Every script of examples/ is run, but for those named *_slow.py.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"(?<!_slow)\.py$",
    "subsection_order": [
        f"../examples/{section}"
        for section in ("compounds", "genes", "cells", "trust", "models")
    ],
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
    "show_memory": False,
    # Of a display, and of what matplotlib returns, the picture is shown.
    "ignore_repr_types": r"Display'>$|matplotlib",
    "show_signature": False,
    "download_all_examples": False,
}


def mend_types(app, what, name, obj, options, lines):
    """Make the types in docstrings readable for docutils, before numpydoc sees them.

    A type that goes on after a backslash becomes one line, and a name that ends in an
    underscore, which docutils takes for a link, goes into backticks.
    """
    for i in reversed(range(len(lines) - 1)):
        if lines[i].endswith("\\"):
            lines[i : i + 2] = [lines[i][:-1].rstrip() + " " + lines[i + 1].lstrip()]
    for i, line in enumerate(lines):
        name, colon, kind = line.partition(" : ")
        if colon and not line.startswith((" ", ">>>")):
            kind = re.sub(r"(?<![`\w])([A-Za-z]\w*_)(?![`\w])", r"`\1`", kind)
            lines[i] = name + colon + kind


def fill_in_page(app, docname, source):
    """Write what a page takes from the package into its text."""
    source[0] = fill_in(source[0])


def filled_pages(app, env, added, changed, removed):
    """Return the pages to read again although their files are as they were."""
    pages = (app.srcdir / f"{name}.md" for name in env.found_docs)
    read = {
        page.stem: page.read_text(encoding="utf-8") for page in pages if page.exists()
    }
    return [name for name, text in read.items() if MARK.search(text)]


def setup(app):
    app.connect("source-read", fill_in_page)
    app.connect("env-get-outdated", filled_pages)
    app.connect("autodoc-process-docstring", mend_types, priority=400)
