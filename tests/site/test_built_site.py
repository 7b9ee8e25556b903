"""What the built pages hold, read from the files."""

import gzip
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup, NavigableString, Tag

from tests.site.conftest import LESSONS

pytestmark = pytest.mark.site

PARTS = ("question", "turn", "answer", "check", "apparatus")


def prose(tag: Tag) -> Iterator[str]:
    """The texts in it, without code and scripts."""
    for child in tag.children:
        if isinstance(child, Tag):
            if child.name not in ("code", "pre", "script"):
                yield from prose(child)
        elif type(child) is NavigableString:  # and no comment
            yield child


def test_no_error_and_no_markup_is_left(soups: dict[str, BeautifulSoup]) -> None:
    found = []
    for page, soup in soups.items():
        if soup.find(src="") is not None:
            found.append((page, 'src=""'))
        text = "\n".join(prose(soup.article))
        signs = r"Traceback \(most recent|^!!! |^\?\?\? |^=== |\\\(|\$\$|\{ \.|ds-output-\d|<!--|\^\["
        found += [(page, hit) for hit in re.findall(signs, text, re.MULTILINE)]
    assert found == []


def test_links_and_anchors_resolve(site: Path, soups: dict[str, BeautifulSoup]) -> None:
    ids = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    found = []
    for page, soup in soups.items():
        for tag in soup.find_all(["a", "img", "link", "script"]):
            address = tag.get("href") or tag.get("src") or ""
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not address:
                continue
            path = (site / page / unquote(parts.path)).resolve() if parts.path else site / page
            file = path / "index.html" if path.is_dir() else path
            if not file.is_file():
                found.append((page, address))
            elif parts.fragment and file.name == "index.html":
                target = file.parent.relative_to(site.resolve()).as_posix()
                target = "" if target == "." else f"{target}/"
                if unquote(parts.fragment) not in ids[target] | {"__toc", "__search"}:
                    found.append((page, address))
    assert found == []


def test_the_build_could_not_reach_the_network(offline: dict[str, str]) -> None:
    """The site that these tests read was built like this."""
    call = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run(
        [sys.executable, "-c", call],
        env=offline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OSError: no network: ('192.0.2.1', 80)" in done.stderr


def test_nothing_is_loaded_from_another_host(soups: dict[str, BeautifulSoup]) -> None:
    found = []
    for page, soup in soups.items():
        for tag in soup.find_all(["script", "img", "iframe", "source", "video", "object"]):
            if re.match(r"(https?:)?//", tag.get("src") or tag.get("data") or ""):
                found.append((page, str(tag)[:100]))
        for tag in soup.find_all("link", href=re.compile("^(https?:)?//")):
            if set(tag.get("rel", ())) & {"stylesheet", "preconnect", "preload", "icon"}:
                found.append((page, str(tag)))
    assert found == []


def test_pictures_say_what_they_show(soups: dict[str, BeautifulSoup]) -> None:
    found = []
    for page, soup in soups.items():
        for image in soup.article.find_all("img"):
            if len(image.get("alt", "")) < 10:
                found.append((page, str(image)[:100]))
        for picture in soup.select("article figure svg"):
            if picture.get("role") != "img" or len(picture.get("aria-label", "")) < 20:
                found.append((page, str(picture)[:100]))
        wide = soup.select("article figure svg:not(.ds-narrow svg)")  # a narrow one says the same
        labels = [p.get("aria-label") for p in wide]
        assert len(set(labels)) == len(labels), f"{page}: two figures have one description"
    assert found == []


def test_identifiers_are_unique(soups: dict[str, BeautifulSoup]) -> None:
    for page, soup in soups.items():
        ids = [tag["id"] for tag in soup.find_all(id=True)]
        assert sorted(ids) == sorted(set(ids)), page


def test_headings_are_in_order(soups: dict[str, BeautifulSoup]) -> None:
    for page, soup in soups.items():
        levels = [int(h.name[1]) for h in soup.article.find_all(re.compile("^h[1-6]$"))]
        assert levels[0] == 1, page
        assert levels.count(1) == 1, page
        for before, after in itertools.pairwise(levels):
            assert after <= before + 1, f"{page}: h{after} after h{before}"


@pytest.mark.parametrize("lesson", LESSONS)
def test_lessons_ran_and_have_every_part_in_order(
    soups: dict[str, BeautifulSoup], lesson: str
) -> None:
    soup = soups[f"exercises/{lesson}/"]
    assert int(soup.select_one(".ds-build")["data-cells"]) >= 3
    boxes = list(soup.article.find_all(["div", "details"]))
    places = []
    for part in PARTS:
        found = [i for i, box in enumerate(boxes) if part in box.get("class", ())]
        assert found, part
        places.append(found[0])
    assert places == sorted(places)
    assert "PyTorch" in boxes[places[-1]].get_text()
    assert soup.select("article .ds-verdict")
    assert soup.select("article .ds-setup")


def test_home_has_a_card_for_each_answer_with_a_verdict_of_twelve_words(
    soups: dict[str, BeautifulSoup],
) -> None:
    home = soups[""]
    cards = home.select("article .ds-answers > div")
    assert len(cards) == len(LESSONS)
    for card in cards:
        assert card.select_one("svg") is not None
        verdict = card.find_all("p")[-1].get_text(" ", strip=True)
        assert 5 < len(verdict.split()) <= 12, verdict


def test_pages_are_light(site: Path, pages: list[str]) -> None:
    for page in pages:
        html = (site / page / "index.html").read_text("utf-8")
        html = re.sub(r"<figure.*?</figure>", "", html, flags=re.DOTALL)
        assert "<style" not in html or len(re.findall(r"<style", html)) <= 1, page
        if not page.startswith("reference/"):  # these hold the source of all modules
            assert len(gzip.compress(html.encode())) <= 60_000, page


def test_search_finds_clean_text(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    text = "\n".join(f"{entry['title']}\n{entry['text']}" for entry in index["docs"])
    assert "DenseNet-264" in text
    assert re.search("shared storage", text, re.IGNORECASE)
    for noise in ("¶", "Copied", "ds-output", "In [", "\\(", "Ran from top to bottom"):
        assert noise not in text, noise
