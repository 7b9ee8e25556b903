"""Dark mode for readers without JavaScript: the theme's own rules, asked for by the system.

The theme changes to its dark scheme by a script. Where scripts do not run, this style sheet says
the same: every rule of the scheme `slate`, from the theme's files and the site's, for those whose
system prefers dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_RULE = re.compile(r"([^{}@;]*)\{([^{}]*)\}")
_SLATE = re.compile(r'\[data-md-color-scheme="?slate"?\]')
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def dark_without_script(sheets: Iterable[str]) -> str:
    """The dark scheme's rules of some style sheets, for `prefers-color-scheme: dark` and no script.

    >>> print(dark_without_script(["p{top:1} [data-md-color-scheme=slate] p{top:2}"]), end="")
    @media (scripting: none) and (prefers-color-scheme: dark) {
    [data-md-color-scheme] p{top:2}
    }
    """
    rules = []
    for sheet in sheets:
        for selectors, declarations in _RULE.findall(_COMMENT.sub("", sheet)):
            dark = [s for s in selectors.split(",") if _SLATE.search(s) and ":not(" not in s]
            if dark:
                names = ",".join(_SLATE.sub("[data-md-color-scheme]", s.strip()) for s in dark)
                rules.append(f"{names}{{{declarations.strip()}}}")
    inside = "\n".join(rules)
    return f"@media (scripting: none) and (prefers-color-scheme: dark) {{\n{inside}\n}}\n"
