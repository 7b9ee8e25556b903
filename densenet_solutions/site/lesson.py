"""Python-Markdown extension: what a lesson has and Markdown has not.

- `text^[a side note]` is a note in the margin, and on a phone one that opens where it stands;
- `[guess: channels kept]` is a field for the reader's guess, shown again beside `??? solution`;
- `!!! answer` has at most 70 words and a list of three numbers, or the build stops;
- `!!! does-not-hold "ReLU6 saves memory."` shows the claim, and after it *does not hold*.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor
from mkdocs.exceptions import PluginError

WORDS, NUMBERS = 70, 3
VERDICTS = frozenset({"holds", "holds-with-a-condition", "does-not-hold", "not-decidable-here"})
_TYPES = VERDICTS | {"question", "turn", "answer", "check", "note", "info", "tip", "warning"}


class LessonError(PluginError, ValueError):
    """A part of a lesson is not as it must be; MkDocs names the page, and stops without a traceback."""


class Lesson(Extension):
    """Registered in `mkdocs.yml`; needs the extension `admonition`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        # After code (190) and before links (170), which also begin with a bracket.
        note = r"\^\[((?:[^\[\]]|\[[^\[\]]*\](?:\([^()]*\))?)+)\]"
        md.inlinePatterns.register(_SideNote(note, md), "side-note", 175)
        md.inlinePatterns.register(_Guess(r"\[guess: ([^\[\]]+)\]", md), "guess", 176)
        md.treeprocessors.register(_Finish(md), "lesson", 15)  # after the inline patterns (20)


class _SideNote(InlineProcessor):
    """A checkbox opens the note: no script, and the keyboard reaches it."""

    def handleMatch(  # noqa: N802
        self, m: re.Match[str], data: str
    ) -> tuple[ET.Element, int, int]:
        side = ET.Element("span", {"class": "ds-side"})
        ET.SubElement(side, "input", {"type": "checkbox", "class": "ds-side-box"})
        ET.SubElement(side, "label", {"class": "ds-side-mark"})
        text = ET.SubElement(side, "small", {"class": "ds-side-text"})
        text.text = m[1].strip()
        return side, m.start(0), m.end(0)


class _Guess(InlineProcessor):
    def handleMatch(  # noqa: N802
        self, m: re.Match[str], data: str
    ) -> tuple[ET.Element, int, int]:
        label = ET.Element("label", {"class": "ds-guess"})
        ET.SubElement(label, "span").text = m[1].strip()
        ET.SubElement(label, "input", {"type": "text", "size": "8", "autocomplete": "off"})
        return label, m.start(0), m.end(0)


class _Finish(Treeprocessor):
    def run(self, root: ET.Element) -> None:
        notes = (span for span in root.iter("span") if span.get("class") == "ds-side")
        for number, (box, mark, text) in enumerate(notes, start=1):
            name = f"side-note-{number}"
            box.attrib |= {"id": name, "aria-label": f"Show side note {number}"}
            mark.set("for", name)
            mark.text = str(number)
            text.set("data-number", str(number))
        for box in root.iter("div"):
            first, *kinds = box.get("class", "").split() or [""]
            if first != "admonition":
                continue
            if unknown := set(kinds) - _TYPES:
                raise LessonError(
                    f"an admonition has a type of {', '.join(sorted(_TYPES))}, got {unknown.pop()}"
                )
            if "answer" in kinds:
                _check(box)
            for verdict in VERDICTS.intersection(kinds):
                _say(verdict, box[0])


def _say(verdict: str, title: ET.Element) -> None:
    """Write a verdict behind its claim, in words."""
    if len(title):
        title[-1].tail = f"{title[-1].tail or ''} "
    else:
        title.text = f"{title.text} "
    ET.SubElement(title, "em", {"class": "ds-verdict"}).text = verdict.replace("-", " ")


def _check(box: ET.Element) -> None:
    """Raise LessonError where an answer is not one that is read in ten seconds."""
    text = " ".join(_words(p) for p in box[1:] if p.tag == "p")
    count = len(re.findall(r"\w[\w.,’'-]*", text))
    if count > WORDS:
        raise LessonError(f"an answer has at most {WORDS} words, got {count}: {text[:60]!r} …")
    items = [item for part in box if part.tag == "ul" for item in part]
    if len(items) != NUMBERS or any(len(item) == 0 or item[0].tag != "strong" for item in items):
        raise LessonError(
            f"an answer has a list of {NUMBERS} numbers, `- **1.5×** what it is`, got "
            f"{[_words(item) for item in items]}"
        )


def _words(element: ET.Element) -> str:
    """Text without side notes."""
    if element.get("class") == "ds-side":
        return ""
    inside = "".join(_words(child) + (child.tail or "") for child in element)
    return (element.text or "") + inside
