"""TeX → MathML while the site is built: no script, no font and no request when it is read."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from latex2mathml.exceptions import ExtraLeftOrMissingRightError, MissingEndError

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def render_math(content: str, page: str) -> str:
    """Replace what arithmatex marked as TeX in `content` by MathML.

    Raises:
        ValueError: a formula is not TeX that can be read.
    """

    def replace(match: re.Match[str]) -> str:
        tex = html.unescape(match["tex"]).strip()
        display = "block" if match["tag"] == "div" else "inline"
        math = to_mathml(tex, display, page)
        return f'<div class="ds-math">{math}</div>' if display == "block" else math

    return _FORMULA.sub(replace, content)


def to_mathml(tex: str, display: str = "inline", page: str = "") -> str:
    """MathML of one formula, with the TeX as its annotation for those who copy it."""
    try:
        math = convert(tex, display=display)
    except (ExtraLeftOrMissingRightError, MissingEndError, IndexError, StopIteration) as error:
        raise ValueError(f"{page}: cannot read the formula {tex!r} ({error!r})") from error
    if unknown := re.search(r"<mi>\\[A-Za-z]+</mi>|<mo>\\[A-Za-z]+</mo>", math):
        raise ValueError(f"{page}: the formula {tex!r} has an unknown command, {unknown[0]}")
    return math


def plain_math(text: str) -> str:
    r"""A heading's formula as plain text, for the contents list and the page's title.

    Examples:
        >>> plain_math(r"Growth rate \(k\) and \(\theta = 0.5\)")
        'Growth rate k and θ=0.5'
    """
    return re.sub(
        r"\\\((.*?)\\\)",
        lambda m: html.unescape(re.sub(r"<[^>]+>", "", to_mathml(html.unescape(m[1])))),
        text,
    )
