"""What is refused of a set of images on disk or on the hub: in words that say what was expected and found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_space.skeleton import MINIMUM_IMAGE_SIZE

LARGEST_BYTES = 8 * 2**30  # of decoded images in memory
MOST_NAMES = 10  # of classes in a message


def check_classes(folder: Path, column: str, names: tuple[str, ...]) -> None:
    """Raise ValueError where there are too few classes, or a Parquet file of a local folder numbers others.

    datasets takes the classes of the first file for those of all.
    """
    import datasets
    import pyarrow.parquet

    if len(names) < 2:
        raise ValueError(f"data.label_column={column}: expected at least 2 classes, found {', '.join(names) or 'none'}")
    for path in sorted(folder.rglob("*.parquet")):
        own = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(path)).get(column)
        if isinstance(own, datasets.ClassLabel) and tuple(own.names) != names:
            raise ValueError(
                f"data.path={folder}: expected one list of classes in all files, {_listed(names)}; "
                f"found {_listed(own.names)} in {path.name}"
            )


def labels_of(column: Sequence[int | None], num_classes: int) -> Tensor:
    """int64 [N]. Raises ValueError where one is missing or names no class."""
    found = list(column)
    if None in found:
        raise ValueError(f"labels must be 0 to {num_classes - 1}, found none at image {found.index(None)}")
    labels = torch.tensor(found, dtype=torch.int64)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"labels must be 0 to {num_classes - 1}, found {low} to {high}")
    return labels


def decoded(table: Any, column: str) -> Iterator[np.ndarray[Any, Any]]:
    """Each image in order, uint8 [H, W] or [H, W, 3]. Raises ValueError that numbers one that is something else."""
    rows = iter(table)
    for index in range(len(table)):
        try:
            image = next(rows)[column]
            pixels = np.asarray(image)
        except Exception as error:  # Pillow and datasets raise a dozen kinds; all mean that the image cannot be read
            raise ValueError(f"image {index} cannot be read: {first_line(error)}") from None
        if image is None:
            raise ValueError(f"image {index} is missing; expected L (grey) or RGB")
        if image.mode not in ("L", "RGB"):
            raise ValueError(f"image {index} has mode {image.mode}; expected L (grey) or RGB")
        yield pixels


def check_form(image: np.ndarray[Any, Any], count: int) -> None:
    """Raise ValueError unless images like the first one are square, not too small, and fit in memory."""
    if count * image.nbytes > LARGEST_BYTES:
        raise ValueError(
            f"{count} images of {image.shape} do not fit the {LARGEST_BYTES // 2**30} GiB kept in memory; "
            "set data.limit"
        )
    height, width = image.shape[:2]
    if height != width or height < MINIMUM_IMAGE_SIZE:
        raise ValueError(
            f"images must be square, of at least {MINIMUM_IMAGE_SIZE} pixels a side; found {height} by {width}"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def first_line(error: BaseException) -> str:
    """What it says, to the end of its first line; its kind where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
