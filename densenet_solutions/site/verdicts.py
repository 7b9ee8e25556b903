"""Python-Markdown extension: an admonition whose type is a verdict says so in words.

`!!! does-not-hold "ReLU6 saves memory."` shows the claim, and after it *does not hold*.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

VERDICTS = frozenset({"holds", "holds-with-a-condition", "does-not-hold", "not-decidable-here"})
_LESSON = {"question", "turn", "answer", "check"}  # see `site.lesson`
_TYPES = VERDICTS | _LESSON | {"note", "info", "tip", "warning"}


class Verdicts(Extension):
    """Registered in `mkdocs.yml`; needs the extension `admonition`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        # After the inline patterns (20), so that the claim has its elements.
        md.treeprocessors.register(_Write(md), "verdicts", 15)


class _Write(Treeprocessor):
    def run(self, root: ET.Element) -> None:
        for box in root.iter("div"):
            first, *kinds = box.get("class", "").split() or [""]
            if first != "admonition":
                continue
            if unknown := set(kinds) - _TYPES:
                raise ValueError(
                    f"an admonition has a type of {', '.join(sorted(_TYPES))}, got {unknown.pop()}"
                )
            for verdict in VERDICTS.intersection(kinds):
                title = box[0]
                if len(title):
                    title[-1].tail = f"{title[-1].tail or ''} "
                else:
                    title.text = f"{title.text} "
                word = ET.SubElement(title, "em", {"class": "ds-verdict"})
                word.text = verdict.replace("-", " ")
