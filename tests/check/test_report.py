"""A report shows itself on a terminal, in a notebook and to programs."""

from __future__ import annotations

import io
import json

from bs4 import BeautifulSoup
from rich.console import Console

from densenet_solutions.check import Finding, Report, parameter_count

REPORT = Report(
    "a <b> network",
    (
        Finding("wrong", "ReLU is [red]missing & more", "Paper, section 3", "my_net.py, line 3"),
        Finding("harmless", "another order"),
        Finding("note", "by the way"),
    ),
)


def printed(*, color: bool) -> str:
    file = io.StringIO()
    Console(file=file, force_terminal=color, color_system="standard" if color else None).print(
        REPORT
    )
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_text_has_every_finding_with_its_line_and_place():
    assert str(REPORT) == repr(REPORT) == printed(color=False)
    assert str(REPORT).splitlines() == [
        "a <b> network: not passed",
        "✗ ReLU is [red]missing & more",
        "    Paper, section 3",
        "    my_net.py, line 3",
        "○ another order",
        "· by the way",
    ]


def test_only_a_terminal_gets_colors():
    assert "\x1b[" not in printed(color=False)
    assert "\x1b[1;31mnot passed" in printed(color=True)


def test_a_notebook_gets_html_with_nothing_unescaped():
    page = BeautifulSoup(REPORT._repr_html_(), "html.parser")
    assert page.find("b") is None
    assert page.strong.text == "a <b> network: not passed"
    assert [item["data-kind"] for item in page.find_all("li")] == ["wrong", "harmless", "note"]
    assert "my_net.py, line 3" in page.li.text


def test_json_has_the_fields_of_the_report():
    data = json.loads(REPORT.to_json())
    assert data["passed"] is False
    assert data["findings"][0]["where"] == "my_net.py, line 3"
    data = json.loads(parameter_count(7_978_856).to_json())
    assert data["builds"][0]["deviations"] == []
    assert data["passed"] is True


def test_what_is_wrong_comes_first_and_decides():
    assert not REPORT.passed
    assert [finding.text for finding in REPORT.wrong] == ["ReLU is [red]missing & more"]
    assert Report("fine", REPORT.findings[1:]).passed


def test_long_lines_hang_under_their_finding():
    file = io.StringIO()
    Console(file=file, width=20).print(REPORT)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert lines[2:4] == ["✗ ReLU is", "  [red]missing &"]
    assert "    3" in lines
