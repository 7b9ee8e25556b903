"""What the MkDocs build needs: pages are executed, cached and turned into the site's Markdown.

mkdocs-jupyter decides which files of `docs/` are notebooks. From there on this package takes over:
`run` runs a page, `cache` keeps what it printed, `compose` writes cells and outputs as one
Markdown document, which MkDocs then renders and checks like any other page. So admonitions, folds,
tabs, math, the table of contents and link checks work in cells and in outputs alike.
"""

import os

#: `mkdocs.yml` names this, so that MkDocs imports it before the theme, which then keeps quiet.
QUIET = os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
