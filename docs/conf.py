"""How Sphinx makes the site: `make docs` writes build/site, with warnings as errors.

Its source folder is the whole checkout, so that a link between two files is the same on the site as in the repository.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

project = "E2RNAS"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
author = "The E2RNAS framework authors"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "extensions.docstrings",
    "extensions.first_page",
    "extensions.made_pages",
]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = [
    "docs/**.md",
    "benchmarks/results/**.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "search_space/kernels/README.md",
    "learned_optimizers/native/README.md",
]
exclude_patterns = [".*", "runs", "build", "tests", "outputs", "multirun"]
suppress_warnings = [
    "myst.xref_missing",  # links to files that are not on the site: tests/project/test_docs.py checks them
]

myst_heading_anchors = 4
myst_enable_extensions = ["deflist", "colon_fence"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
default_role = "literal"

html_theme = "furo"
html_title = f"E2RNAS {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
