"""How many images were converted, and how: said once on standard error."""

from __future__ import annotations

import os
import sys
from collections import Counter

from pipeline.presentation.terminal import printable

Conversions = Counter[str]  # "CMYK to RGB" -> number of images


def say_counted(conversions: Conversions, number: int, split: str) -> None:
    """Say how many of all `number` images of a split were converted, where any were."""
    if conversions:
        counts = ", ".join(f"{count:,} {how}" for how, count in sorted(conversions.items()))
        _say(f"{conversions.total():,} of {number:,} images of split {split} were converted: {counts}")


class Announced:
    """Says of each way to convert that it is taken, the first time: images that are read as they are needed."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._said: set[str] = set()

    def __call__(self, conversions: Conversions) -> None:
        """Take note of the conversions of a batch."""
        new = conversions.keys() - self._said
        if new:
            self._said |= new
            _say(f"images of split {self._split} are converted as they are read: {', '.join(sorted(new))}")


def _say(line: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the first process speaks for all
        sys.stderr.write(f"note: {printable(line)}\n")
