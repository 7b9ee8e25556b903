"""What the lesson's Markdown becomes, without a browser."""

import pytest
from bs4 import BeautifulSoup
from markdown import Markdown

ANSWER = """
!!! answer "The answer"
    {text}

    - **1.5×** one
    - **7** two
    - **4.9 GiB** three
"""


def rendered(text: str) -> BeautifulSoup:
    extensions = ["admonition", "attr_list", "footnotes", "densenet_solutions.site.lesson:Lesson"]
    return BeautifulSoup(Markdown(extensions=extensions).convert(text), "html.parser")


def test_side_notes_are_numbered_in_their_order_and_reached_by_keyboard() -> None:
    soup = rendered(
        "A^[First, *with* [a link](https://d2l.ai/).] and `b^[code]`.\n\n"
        '!!! note "N"\n    C^[Second, 2 [1, 3] wide.]'
        "\n\nD^[Third.]\n\nE[^1].\n\n[^1]: A footnote stays one.\n"
    )
    notes = soup.select(".ds-side")
    assert [note.small.text for note in notes] == ["First, with a link.", "Second, 2 [1, 3] wide.", "Third."]
    assert [note.label.text for note in notes] == ["1", "2", "3"]
    assert [note.label["for"] for note in notes] == [note.input["id"] for note in notes]
    assert notes[0].select_one("small em, small a").name == "em"
    assert notes[0].input["aria-label"] == "Show side note 1"
    assert "b^[code]" in soup.code.text
    assert soup.select_one(".footnote")


def test_a_guess_is_a_labelled_field() -> None:
    label = rendered("[guess: channels kept] [a link](x)").select_one("label.ds-guess")
    assert label.span.text == "channels kept"
    assert label.input["type"] == "text"


def test_an_answer_has_seventy_words_and_its_side_notes_are_not_counted() -> None:
    words = " ".join(["word"] * 69)
    soup = rendered(ANSWER.format(text=f"{words} last^[{words} {words}]."))
    assert len(soup.select(".answer li")) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ANSWER.format(text=" ".join(["word"] * 71)), "at most 70 words, got 71"),
        (ANSWER.format(text="Yes.").replace("    - **7** two\n", ""), "a list of 3 numbers"),
        (ANSWER.format(text="Yes.").replace("**7** two", "two"), "a list of 3 numbers"),
        ('!!! answer "The answer"\n    Yes.\n', "a list of 3 numbers"),
    ],
)
def test_an_answer_that_is_none_stops_the_build(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rendered(text)
