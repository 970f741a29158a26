"""Encoded images on disk, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pipeline.data.decoding import (
    CHANNELS,
    COLOUR_MODE,
    Conversions,
    PixelArray,
    UnreadableImageError,
    decoded,
    is_colour,
)
from pipeline.data.huggingface import SetSplit
from pipeline.data.set_files import SetFiles
from search_space.network.skeleton import MINIMUM_IMAGE_SIZE

READ_AT_ONCE = 1000  # encoded images


def other_size_hint(found: Sequence[int], expected: Sequence[int]) -> str:
    """Return what helps where images [C, H, W] differ in size, as the end of a line that says that they do."""
    return ", or data.image_size, which gives all one size" if found[1:] != expected[1:] else ""


@dataclass(frozen=True)
class ImageTable:
    """The images of one split, memory-mapped: those that were read are in the page cache, which the system takes back.

    table: a datasets.Dataset in Arrow's format, with its images in `column`.  split: its name.
    files: where images may lie that the table names.  shape: [C, H, W] of every image; grey ones become colour.
    side: pixels of the square that every image is cut and scaled to; None leaves them as they are.
    """

    table: Any
    column: str
    split: str
    files: SetFiles
    shape: tuple[int, int, int]
    side: int | None = None

    @classmethod
    def like_row(cls, split: SetSplit, column: str, row: int, side: int | None) -> Self:
        """Return the table of a split whose images are to be like that in `row`, cut and scaled to `side` if given.

        Raises UnreadableImageError where it is not square or too small.
        """
        table = split.rows.select_columns(column).with_format("arrow")
        found = cls(table, column, split.name, split.files, (0, 0, 0), side)
        ((_, value),) = found._encoded([row])
        with found._naming(row, value):
            channels, height, width = decoded(found._content(value), side=side).pixels.shape
            if height != width or height < MINIMUM_IMAGE_SIZE:
                raise UnreadableImageError(
                    f"is {height} by {width}; expected square images of at least {MINIMUM_IMAGE_SIZE} pixels a side, "
                    "or data.image_size, which makes them so"
                )
        return replace(found, shape=(channels, height, width))

    @property
    def is_in_colour(self) -> bool:
        """Return whether images have three channels."""
        return self.shape[0] == CHANNELS[COLOUR_MODE]

    def in_colour(self) -> Self:
        """Return the table whose grey images become colour."""
        return replace(self, shape=(CHANNELS[COLOUR_MODE], *self.shape[1:]))

    def with_colours_of(self, rows: Sequence[int]) -> Self:
        """Return the table in colour where any of the rows is; the headers of all are read up to the first that is."""
        if not self.is_in_colour and any(self._are_colour(rows)):
            return self.in_colour()
        return self

    def _are_colour(self, rows: Sequence[int]) -> Iterator[bool]:
        for first in range(0, len(rows), READ_AT_ONCE):
            for row, value in self._encoded(rows[first : first + READ_AT_ONCE]):
                with self._naming(row, value):
                    found = is_colour(self._content(value))
                yield found

    def decoded(self, rows: Sequence[int]) -> tuple[PixelArray, Conversions]:
        """Images [n, C, H, W]. Raises UnreadableImageError that names the first of them that is not as expected."""
        pixels, conversions = np.empty((len(rows), *self.shape), dtype=np.uint8), Conversions()
        for place, (row, value) in zip(pixels, self._encoded(rows), strict=True):
            with self._naming(row, value):
                image = decoded(self._content(value), self.shape[0], self.side)
                if image.pixels.shape != self.shape:
                    raise UnreadableImageError(
                        f"is {list(image.pixels.shape)}, channels, height and width; expected {list(self.shape)}"
                        f"{other_size_hint(image.pixels.shape, self.shape)}"
                    )
            place[:] = image.pixels
            if image.conversion:
                conversions[image.conversion] += 1
        return pixels, conversions

    def _encoded(self, rows: Sequence[int]) -> list[tuple[int, Any]]:
        return list(zip(rows, self.table[list(rows)].column(self.column).to_pylist(), strict=True))

    def _content(self, value: Any) -> bytes:
        """Return the content of an image file. Raises UnreadableImageError, without a name."""
        if value is None or (value["bytes"] is None and value["path"] is None):
            raise UnreadableImageError("is missing; expected an image")
        content: bytes | None = value["bytes"]
        return self.files.read(value["path"]) if content is None else content

    @contextmanager
    def _naming(self, row: int, value: Any) -> Iterator[None]:
        """Puts the name of the image before what is wrong with it."""
        try:
            yield
        except UnreadableImageError as error:
            file = value and value["path"]
            named = f"image {row} of split {self.split}" + (f" ({file})" if file else "")
            raise UnreadableImageError(f"{named} {error}") from None
