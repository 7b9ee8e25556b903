"""One style for every figure, and inline SVG that follows light and dark mode.

Black is the page's text colour and white its background: both change with the mode. The colours of
`COLOURS` have a fixed meaning on every page and become CSS variables, so each mode has its own.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

from densenet_solutions import checks

#: meaning → colour. Chosen to stay apart for the colour-blind (after Okabe and Ito) and to have
#: a contrast of at least 3 against white; `docs/assets/site.css` holds the values for dark mode.
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        # networks
        "densenet": "#0072b2",
        "resnet": "#cc5500",
        "plain": "#75757d",
        "shortcut": "#00808a",
        # what memory holds
        "parameters": "#7a5cc2",
        "buffers": "#5d6d7e",
        "input": "#8f8a80",
        "activations": "#00906a",
        "gradients": "#c7558f",
        "optimizer": "#8a5a2b",
        "temporaries": "#b58500",
    }
)

#: The page's own colours in light mode, for where its style sheet is missing.
_PAGE = {
    "ink": "#1d2126",
    "quiet": "#59616b",
    "line": "#c9ccc7",
    "wash": "#f4f5f1",
    "paper": "#fdfdfb",
    "fails": "#a32c1c",
    "positive": "#4d7ea8",  # values above and below zero
    "negative": "#c2724a",
}

_STYLE: Any = {  # Any: newer stubs list every key as a literal, older do not
    "svg.fonttype": "none",
    "svg.hashsalt": "densenet-solutions",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#75757d",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
}


def colour(name: str) -> str:
    """A meaning as a CSS colour that follows light and dark: one of `COLOURS`, or of the page.

    Raises:
        ValueError: no colour has that meaning.
    """
    known = {**COLOURS, **_PAGE}
    if name not in known:
        raise ValueError(f"a colour is one of {', '.join(known)}, got {name!r}")
    return f"var(--ds-{name},{known[name]})"


def image(box: str, width: float, alt: str, inside: str) -> str:
    """An SVG element as wide as its column, at most `width` pixels; `box` is its `viewBox`.

    Raises:
        ValueError: `alt` is not a sentence.
    """
    alt = " ".join(alt.split())
    if len(alt) < 20:
        raise ValueError(f"alt says in a sentence what the figure shows, got {alt!r}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
        f'aria-label="{escape(alt, quote=True)}" fill="currentColor" '
        f'style="max-width:{width:.0f}px">{inside}</svg>'
    )


def new_figure(
    width: float = 7.0, height: float = 3.4, rows: int = 1, columns: int = 1, **kw: Any
) -> tuple[Any, Any]:
    """A figure and its axes in the site's style; `width` and `height` in inches.

    7 inches fill a page; the text is 11 points. Further arguments go to `Figure.subplots`. The
    style is set for the process, since Matplotlib reads it whenever something is drawn.
    """
    try:
        import matplotlib as mpl
        from cycler import cycler
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; figures need the extra 'plots': "
            "pip install '.[plots]' in a clone of this repository",
            name=error.name,
        ) from None

    checks.number("width", width, above=0)
    checks.number("height", height, above=0)
    palette = ("densenet", "resnet", "activations", "gradients", "temporaries", "parameters")
    mpl.rcParams.update(_STYLE)
    mpl.rcParams["axes.prop_cycle"] = cycler(color=[COLOURS[name] for name in palette])
    # A bare Figure never enters pyplot: nothing to close, no backend, no display needed.
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **kw)


def note(
    ax: Any, words: str, at: tuple[float, float], offset: tuple[float, float], **look: Any
) -> None:
    """Words beside the point `at`, `offset` points from it; `look` goes to `Axes.annotate`."""
    ax.annotate(words, at, offset, textcoords="offset points", **look)


class Plot:
    """A matplotlib figure in the site's style, as a drawing for `site.frames`.

    Seven inches fill the column; for a phone take 3.6. Text of 10 points is then 13.7 pixels.
    """

    def __init__(self, fig: Any) -> None:
        if not hasattr(fig, "savefig"):
            raise TypeError(f"fig is a figure of matplotlib, got {fig!r}")
        self._fig = fig
        self.width = float(fig.get_figwidth() * 72 * 1.37)

    def svg(self, alt: str) -> str:
        """The figure as one SVG element; `alt` states the finding in words.

        The same figure gives the same bytes: no date, fixed hashes. Identifiers are private to the
        figure, so several fit on a page.

        Raises:
            ValueError: `alt` is not a sentence.
        """
        import matplotlib as mpl

        out = io.StringIO()
        with mpl.rc_context(_STYLE):
            self._fig.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        text = out.getvalue()
        for pattern, replacement in _PASSES:
            text = re.sub(pattern, replacement, text, flags=re.DOTALL)
        found = re.fullmatch(r'<svg.*?viewBox="(.*?)".*?>(.*)</svg>\s*', text, re.DOTALL)
        assert found is not None
        return image(found[1], self.width, alt, _with_own_ids(found[2].strip(), alt))


def _round(found: re.Match[str]) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", found[0])


_CSS = {"#000000": "currentColor", "#ffffff": colour("paper")}
_CSS |= {hexadecimal: colour(name) for name, hexadecimal in COLOURS.items()}
#: What becomes of matplotlib's SVG: a pattern and what replaces it, one after the other.
_PASSES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # In a page it is one element, and a style sheet in it would be the page's.
    (r"\A.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", ""),
    ("xlink:href", "href"),
    # Colours follow the mode.
    (r"(?<=: )#[0-9a-f]{6}", lambda found: _CSS.get(found[0], found[0])),
    # The font is the page's. Before matplotlib 3.11 it is declared together with its size.
    (r"font-family: [^;\"]+;? ?", ""),
    (r"font: ([^;\"]*px) [^;\"]+", r"font: \1 var(--ds-font, sans-serif)"),
    # Hundredths of a point are enough.
    (r' (?:d|x|y|transform|points)="[^"]+"', _round),
    (r"\n\s*", "\n"),
)


def _with_own_ids(text: str, alt: str) -> str:
    """Identifiers with a prefix of this figure's, where something refers to them."""
    prefix = "f" + hashlib.sha256((alt + text).encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r'\sid="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", text
    )
    return re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", text)
