"""Encoded images on disk, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pipeline.faults import first_line
from search_space.skeleton import MINIMUM_IMAGE_SIZE

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
MODES = {"L": 1, "RGB": 3}  # of PIL, and their channels


class UnreadableImageError(ValueError):
    """An image that cannot be decoded, or is not like the others."""


@dataclass(frozen=True)
class ImageTable:
    """The images of one split, memory-mapped: those that were read are in the page cache, which the system takes back.

    table: a datasets.Dataset in Arrow's format, with its images in `column`.  split: its name.
    shape: [C, H, W] of every image.
    """

    table: Any
    column: str
    split: str
    shape: tuple[int, int, int]

    @classmethod
    def like_row(cls, table: Any, column: str, split: str, row: int) -> Self:
        """The table whose images are to be like that in `row`.

        Raises UnreadableImageError where it is not square or too small.
        """
        found = cls(table.with_format("arrow"), column, split, (0, 0, 0))
        ((_, value),) = found._encoded([row])
        channels, height, width = found._image(row, value).shape
        if height != width or height < MINIMUM_IMAGE_SIZE:
            raise UnreadableImageError(
                f"images must be square, of at least {MINIMUM_IMAGE_SIZE} pixels a side; "
                f"{found._name(row, value)} is {height} by {width}"
            )
        return replace(found, shape=(channels, height, width))

    def decoded(self, rows: Sequence[int]) -> Pixels:
        """Images [n, C, H, W]. Raises UnreadableImageError that names the first of them that is not as expected."""
        pixels = np.empty((len(rows), *self.shape), dtype=np.uint8)
        for place, (row, value) in zip(pixels, self._encoded(rows), strict=True):
            image = self._image(row, value)
            if image.shape != self.shape:
                raise UnreadableImageError(
                    f"{self._name(row, value)} is {list(image.shape)}, channels, height and width; "
                    f"the first is {list(self.shape)}"
                )
            place[:] = image
        return pixels

    def _encoded(self, rows: Sequence[int]) -> list[tuple[int, Any]]:
        return list(zip(rows, self.table[list(rows)].column(self.column).to_pylist(), strict=True))

    def _image(self, row: int, value: Any) -> Pixels:
        """[C, H, W]."""
        if value is None:
            raise UnreadableImageError(f"{self._name(row, value)} is missing; expected L (grey) or RGB")
        try:
            image = self.table.features[self.column].decode_example(value)
        except MemoryError:
            raise
        except Exception as error:  # PIL and its plugins raise a dozen kinds, all of which mean the same
            raise UnreadableImageError(f"{self._name(row, value)} cannot be decoded: {first_line(error)}") from None
        if image.mode not in MODES:
            raise UnreadableImageError(f"{self._name(row, value)} has mode {image.mode}; expected L (grey) or RGB")
        return np.asarray(image).reshape(image.height, image.width, MODES[image.mode]).transpose(2, 0, 1)

    def _name(self, row: int, value: Any) -> str:
        file = value.get("path") if isinstance(value, dict) else None
        return f"image {row} of split {self.split}" + (f" ({file})" if file else "")
