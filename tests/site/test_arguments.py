"""What pages may not ask of the site's parts: each with the message that says what to do."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from densenet_solutions.records import store
from densenet_solutions.site import page
from densenet_solutions.site.figures import Plot, new_figure
from densenet_solutions.site.numbers import (
    billions,
    count,
    decimal,
    gib,
    mib,
    millions,
    percent,
    plus_minus,
    signed,
    times,
)
from densenet_solutions.site.tables import KEY, table

FORMATS = (count, millions, billions, mib, gib, decimal, percent, times, signed)
ALT = "A line that rises from one to three."


def figure(alt: str) -> Any:
    return Plot(new_figure(2, 2)[0]).svg(alt)


REFUSED = [
    ("alt in one word", lambda: figure("plot"), ValueError, "what the figure shows, got 'plot'"),
    ("no alt", lambda: figure(""), ValueError, "what the figure shows, got ''"),
    ("no figure", lambda: Plot(None), TypeError, "a figure of matplotlib, got None"),
    ("no width", lambda: new_figure(0, 2), ValueError, "width is more than 0, got 0"),
    ("no height", lambda: new_figure(2, 0), ValueError, "height is more than 0, got 0"),
    *(
        (f"{form.__name__} of {value}", lambda f=form, x=value: f(x), ValueError, f"got {value}")
        for form in FORMATS
        for value in (math.nan, math.inf)
    ),
    ("negative width", lambda: plus_minus(-1, -1), ValueError, "at least 0, got -1"),
    ("unknown width", lambda: plus_minus(1, math.nan), ValueError, "finite, got nan"),
    ("source of others", lambda: page.source(json.JSONDecoder), ValueError, "densenet_solutions"),
    ("nothing loaded", lambda: page.record_note(), ValueError, "and there is none"),
    ("path to nowhere", lambda: table([{"a": 1}], {"A": "b"}), ValueError, r"'A' is 'b', which \{"),
    ("place beyond", lambda: table([[1]], {"A": 1}), ValueError, r"'A' is 1, which \[1\] lacks"),
    ("place in a number", lambda: table([1], {"A": 0}), ValueError, "'A' is 0, which 1 lacks"),
    ("short align", lambda: table([[1, 2]], {"a": 0, "b": 1}, align="l"), ValueError, "2 columns"),
    ("unknown align", lambda: table([[1]], {"a": 0}, align="x"), ValueError, "one letter of l, r"),
]
TAKEN: list[tuple[str, Callable[[], Any]]] = [
    ("alt in a sentence", lambda: figure(ALT)),
    *((form.__name__, lambda f=form: f(1)) for form in FORMATS),
    ("source of ours", lambda: page.source(mib)),
    ("no rows", lambda: table([], {"A": "b"})),
    ("rows as a generator", lambda: table((row for row in ([1], [2])), {"A": 0})),
    ("rows by key", lambda: table({"x": 1}, {"A": KEY}, align="c")),
]


@pytest.mark.parametrize(("call", "exception", "message"), [r[1:] for r in REFUSED],
                         ids=[r[0] for r in REFUSED])  # fmt: skip
def test_wrong_arguments_are_refused_in_words(
    call: Callable[[], Any],
    exception: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "loaded", [])
    with pytest.raises(exception, match=message):
        call()


@pytest.mark.parametrize("call", [t[1] for t in TAKEN], ids=[t[0] for t in TAKEN])
def test_right_arguments_are_taken(call: Callable[[], Any]) -> None:
    assert call() is not None
