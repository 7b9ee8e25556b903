"""Commands in a terminal that breaks no line, and what they say without the frame around it."""

import re

from typer.testing import CliRunner

#: Wider than a message with the path of a test's folder, however long that is.
RUNNER = CliRunner(env={"COLUMNS": "2000"})


def words(text: str) -> str:
    return " ".join(re.sub("[─│╭╮╰╯]", " ", text).split())
