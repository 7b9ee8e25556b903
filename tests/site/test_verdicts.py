from html.parser import HTMLParser

import markdown
import pytest

from densenet_solutions.site.lesson import VERDICTS, Lesson


def render(text: str) -> str:
    return markdown.markdown(text, extensions=["admonition", Lesson()])


def words(html: str) -> str:
    """What is read, where styles are not."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(html)
    return " ".join("".join(found).split())


@pytest.mark.parametrize("verdict", sorted(VERDICTS))
def test_a_verdict_is_said_in_words_after_its_claim(verdict: str) -> None:
    html = render(f'!!! {verdict} "It is fast."\n    It takes 3 s.')
    assert words(html) == f"It is fast. {verdict.replace('-', ' ')} It takes 3 s."
    assert f'class="admonition {verdict}"' in html
    assert html.count("ds-verdict") == 1


def test_markup_of_a_claim_is_kept() -> None:
    html = render('!!! holds "`cat` copies *everything*"\n    Yes.')
    assert "<code>cat</code>" in html
    assert words(html) == "cat copies everything holds Yes."


def test_other_admonitions_are_left_alone() -> None:
    assert words(render('!!! note "Mind"\n    Text.')) == "Mind Text."


def test_a_type_that_is_no_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does-not-hold.*, got does-not-holds"):
        render('!!! does-not-holds "It is fast."\n    It takes 3 s.')
