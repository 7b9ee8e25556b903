"""A griffe extension: examples in docstrings are code, wherever in the docstring they stand."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^( *)>>> .*?(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)


def fence_examples(docstring: str) -> str:
    r"""Put every `>>>` paragraph into a code fence.

    >>> fence_examples("Text.\n\n>>> 1 + 1\n2").splitlines()
    ['Text.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    if "```pycon" in docstring:
        return docstring
    return _EXAMPLE.sub(lambda m: f"{m[1]}```pycon\n{m[0]}\n{m[1]}```", docstring)


class Doctests(Extension):
    """Applies `fence_examples` to all docstrings that mkdocstrings collects."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called by griffe for every object it loads."""
        if obj.docstring is not None:
            obj.docstring.value = fence_examples(obj.docstring.value)
