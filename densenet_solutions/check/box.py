"""A box for a page: type a number of parameters and be told which network it is."""

from __future__ import annotations

import json

from densenet_solutions.check.search import tables
from densenet_solutions.site.html import Html


def number_box(example: int = 7_989_096) -> Html:
    """The form of `docs/assets/check.js`, with the tables that it searches.

    Without JavaScript the command stands there instead. `example` is the number in it.

    Examples:
        >>> "densenet-solutions check number 7989096" in number_box().html
        True
    """
    data = json.dumps(tables(), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(
        '<div class="ds-check">\n'
        '<p class="ds-check-title">Which network did you build?</p>\n'
        '<form class="ds-check-form" hidden>\n'
        "<label>Number of parameters"
        '<input type="text" inputmode="numeric" autocomplete="off" spellcheck="false" '
        f'placeholder="{example:,}"></label>\n'
        '<button type="submit">Check</button>\n'
        '<output class="ds-check-found"></output>\n'
        f'<script type="application/json">{data}</script>\n'
        "</form>\n"
        '<p class="ds-check-command">On the command line, with your number: '
        f"<code>densenet-solutions check number {example}</code></p>\n"
        "</div>"
    )
