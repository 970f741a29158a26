"""Text from files on a terminal, which obeys control characters."""

from __future__ import annotations

KEPT = "\N{NO-BREAK SPACE}"  # between a number and its unit


def printable(text: str) -> str:
    r"""Write a text in one line, with escapes such as \x1b and \n for control characters and for what is not seen."""
    return "".join(
        letter if letter.isprintable() or letter in KEPT else letter.encode("unicode_escape").decode()
        for letter in text
    )


def printable_lines(text: str) -> str:
    """Write a text with escapes as `printable`, and its line ends as they are."""
    return "\n".join(map(printable, text.split("\n")))
