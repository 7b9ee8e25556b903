"""One style for every figure, and inline SVG that follows light and dark mode.

Black is the page's text colour and white its background: both change with the mode. The colours of
`COLOURS` have a fixed meaning on every page and become CSS variables, so each mode has its own.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
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

        alt = " ".join(alt.split())
        if len(alt) < 20:
            raise ValueError(f"alt says in a sentence what the figure shows, got {alt!r}")
        out = io.StringIO()
        with mpl.rc_context(_STYLE):
            self._fig.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return _adapt(out.getvalue(), alt, self.width)


def _adapt(text: str, alt: str, width: float) -> str:
    """Make an SVG document fit for a page: one element, private ids, colours that follow the mode.

    It is as wide as its column, and at most `width` pixels.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    prefix = "f" + hashlib.sha256((alt + text).encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(
        r'\sid="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", text
    )
    text = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", text)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"(stroke|fill)(:\s*|=\")#000000", r"\1\2currentColor", text)
    text = re.sub(r"(stroke|fill)(:\s*|=\")#ffffff", r"\1\2var(--ds-paper, #fff)", text)
    for name, hexadecimal in COLOURS.items():
        text = text.replace(f": {hexadecimal}", f": var(--ds-{name}, {hexadecimal})")
    text = re.sub(r"font(?:-family)?: [^;\"]+;?", _font, text)
    text = re.sub(r"<text>\s*(<tspan.*?)</text>", _flow, text, flags=re.DOTALL)
    text = re.sub(r' (?:d|x|y|transform|points)="[^"]+"', _round, text)
    text = re.sub(r"\n\s*", "\n", text)
    opening, inside = text.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', opening)
    assert box is not None
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box[0]} role="img" aria-label="{escape(alt, quote=True)}" fill="currentColor" '
        f'style="max-width:{width:.0f}px">{inside.strip()}'
    )


def _font(match: re.Match[str]) -> str:
    """Drop the family of a `font` or `font-family` declaration: it is the page's."""
    keep = ["font-family: monospace;"] if "monospace" in match[0] else []
    if size := re.search(r"[\d.]+px", match[0]):  # the shorthand of Matplotlib before 3.11
        keep.append(f"font-size: {size[0]};")
        keep += ["font-style: italic;"] * bool(re.search("italic|oblique", match[0]))
        keep += ["font-weight: bold;"] * bool(re.search("bold|700", match[0]))
    return " ".join(keep)


def _flow(match: re.Match[str]) -> str:
    """Let the letters of a formula follow each other; Matplotlib places each for its own font."""
    letters = re.findall(
        r'<tspan x="([\d.-]+)" y="([\d.-]+)" style="([^"]*)">(.*?)</tspan>', match[1]
    )
    if not letters or " x=" in re.sub(r'<tspan x="[\d.-]+" y', "", match[1]):
        return match[0]
    runs: list[list[str]] = []
    for _, y, style, letter in sorted(letters, key=lambda item: float(item[0])):
        letter = letter.replace("\N{NO-BREAK SPACE}", " ")
        style = style.replace("oblique", "italic").strip()
        if runs and runs[-1][:2] == [y, style]:
            runs[-1][2] += letter
        else:
            runs.append([y, style, letter])
    spans = (f'<tspan y="{y}" style="{style}">{run}</tspan>' for y, style, run in runs)
    return f'<text style="white-space: pre">{"".join(spans)}</text>'


def _round(match: re.Match[str]) -> str:
    """Hundredths of a point are enough."""
    return re.sub(r"(\.\d\d)\d+", r"\1", match[0])
