"""What the scripts write on standard output and standard error; names in it come from files."""

from __future__ import annotations

import sys

from pipeline.presentation.terminal import printable


def show(*lines: str) -> None:
    """Write each line to standard output, with escapes for what a terminal would obey or break the line at."""
    for line in lines:
        print(printable(line))


def say(line: str) -> None:
    """Write a line likewise to standard error, in one piece: several processes may write there."""
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()
