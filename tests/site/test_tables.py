import pytest

from densenet_solutions.site.tables import table


def test_numbers_go_right_and_text_left() -> None:
    html = table(["model", "size"], [["a", "1.5 MiB"], ["b", "−2.0 MiB"]]).html
    assert '<th scope="col">model</th><th scope="col" style="text-align: right">size</th>' in html
    assert '<th scope="row">a</th><td style="text-align: right">1.5 MiB</td>' in html


def test_text_is_escaped_and_code_works() -> None:
    html = table(["a"], [["<b> `x<y` **z**"]], caption="A & B").html
    assert "&lt;b&gt; <code>x&lt;y</code> <strong>z</strong>" in html
    assert "<caption>A &amp; B</caption>" in html


@pytest.mark.parametrize("align", ["l", "lrx", "lx"])
def test_wrong_align_is_refused(align: str) -> None:
    with pytest.raises(ValueError, match="one letter of l, r, c"):
        table(["a", "b"], [[1, 2]], align=align)


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="every row has 2 cells"):
        table(["a", "b"], [[1]])
