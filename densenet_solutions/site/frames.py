"""A figure as a sequence of frames: every frame is drawn in Python, a script only chooses one.

Each frame has two drawings, for a wide column and for a phone, and one sentence that says what it
shows. Without the script the key frames stand below each other; without the style sheet too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

from densenet_solutions.site.draw import PHONE
from densenet_solutions.site.html import Html


class Drawing(Protocol):
    """What a frame shows: a `Board`, or a `figures.Plot`."""

    width: float

    def svg(self, alt: str) -> str:
        """The drawing as one SVG element; `alt` says what is to be seen."""
        ...


@dataclass(frozen=True)
class Frame:
    """One picture of a sequence.

    Args:
        label: where it is in the sequence, in a few words, as "forward, layer 2".
        caption: the finding, one sentence.
        wide: the drawing for a column of text.
        narrow: the drawing for 358 pixels, a phone; `None` where the wide one fits.
        key: whether it belongs to the strip that stands without a script.
        alt: what is to be seen, where the caption does not say it.
    """

    label: str
    caption: str
    wide: Drawing
    narrow: Drawing | None = None
    key: bool = False
    alt: str = ""


def frames(
    sequence: Sequence[Frame],
    *,
    name: str,
    start: int = 0,
    columns: int | None = None,
    sliders: Sequence[str] = ("Step",),
) -> Html:
    """A figure that shows one of `sequence`, first that with index `start`.

    `name` is what a screen reader calls it. With `columns`, every so many frames are a row, and
    of the two named `sliders` the first chooses a column, the second a row. The same frames give
    the same bytes.

    Raises:
        ValueError: there are fewer than two frames, none is a key frame, `start` is not one of
            them, they are no full rows, a slider has no name, or a narrow drawing is wider than
            358 pixels.
    """
    if len(sequence) < 2 or not any(frame.key for frame in sequence):
        raise ValueError(
            "a sequence has at least two frames, and key frames for readers without the script, "
            f"got {len(sequence)} frames, {sum(frame.key for frame in sequence)} of them key"
        )
    if start not in range(len(sequence)):
        raise ValueError(f"start is the index of one of {len(sequence)} frames, got {start!r}")
    row = len(sequence) if columns is None else columns
    if row < 2 or len(sequence) % row or len(sliders) != 1 + (columns is not None):
        raise ValueError(
            "rows are full and have a slider of their own, got "
            f"{len(sequence)} frames in rows of {row} and the sliders {', '.join(sliders)}"
        )
    items = "".join(_item(frame, i == start) for i, frame in enumerate(sequence))
    key = hashlib.sha256((name + items).encode()).hexdigest()[:8]
    ends = (row - 1, len(sequence) // row - 1)
    values = (start % row, start // row)
    bars = "".join(
        _bar(f"frames-{key}-{axis}", slider, ends[axis], values[axis], sequence[start].label)
        for axis, slider in enumerate(sliders)
    )
    return Html(
        f'<figure class="ds-frames" role="group" data-columns="{row}" '
        f'aria-label="{escape(name, quote=True)}">'
        f'<ol class="ds-frames-all">{items}</ol>{bars}'
        '<figcaption class="ds-frames-now" aria-live="polite" hidden></figcaption></figure>'
    )


def _bar(key: str, slider: str, last: int, value: int, words: str) -> str:
    """A slider with its buttons; the script shows it."""
    return (
        '<div class="ds-frames-bar" hidden>'
        f'<button type="button" class="ds-frames-back" aria-label="Previous {slider.lower()}">'
        '<span aria-hidden="true">‹</span></button>'
        f'<label class="ds-frames-label" for="{key}">{slider}</label>'
        f'<input type="range" id="{key}" min="0" max="{last}" value="{value}" step="1" '
        f'aria-valuetext="{escape(words, quote=True)}">'
        f'<button type="button" class="ds-frames-on" aria-label="Next {slider.lower()}">'
        '<span aria-hidden="true">›</span></button></div>'
    )


def figure(wide: Drawing, narrow: Drawing | None = None, *, caption: str, alt: str = "") -> Html:
    """One drawing with its finding as caption, wide and narrow. `alt` adds to the caption."""
    return Html(
        f'<figure class="ds-drawing">{_drawings(wide, narrow, alt or caption)}'
        f"<figcaption>{escape(caption, quote=False)}</figcaption></figure>"
    )


def _item(frame: Frame, first: bool) -> str:
    classes = "ds-frame" + " ds-frame-key" * frame.key + " ds-frame-now" * first
    hidden = "" if frame.key else " hidden"
    return (
        f'<li class="{classes}" data-label="{escape(frame.label, quote=True)}"{hidden}>'
        f"{_drawings(frame.wide, frame.narrow, frame.alt or frame.caption)}"
        f'<p class="ds-frame-caption"><b>{escape(frame.label[:1].upper() + frame.label[1:])}.</b> '
        f"{escape(frame.caption, quote=False)}</p></li>"
    )


def _drawings(wide: Drawing, narrow: Drawing | None, alt: str) -> str:
    if narrow is None:
        return wide.svg(alt)
    if narrow.width > PHONE:
        raise ValueError(f"a narrow drawing is at most {PHONE:.0f} pixels wide, got {narrow.width}")
    return (
        f'<div class="ds-wide">{wide.svg(alt)}</div>'
        f'<div class="ds-narrow" hidden>{narrow.svg(alt)}</div>'
    )
