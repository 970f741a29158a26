"""Images that are given as arrays, kept in the run folder so that the command line goes on with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIGITS = 12  # of a digest that tells sets apart


@dataclass(frozen=True)
class GivenImages:
    """A data set from `images`.  pixels, labels: of each split, uint8 [N, H, W] or [N, H, W, 3] and int64 [N]."""

    name: str
    pixels: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]

    def digest(self) -> str:
        """Tell these images and labels apart from others, in hexadecimal digits."""
        found = hashlib.sha256()
        for split, pixels in self.pixels.items():
            found.update(f"{split} {pixels.shape}".encode() + pixels.tobytes() + self.labels[split].tobytes())
        return found.hexdigest()[:DIGITS]

    def write(self, folder: Path) -> Path:
        """Write the set as Parquet files into a folder of its own inside `folder`, unless it is there."""
        kept = folder / f"images-{self.digest()}"
        if not kept.exists():
            unfinished = kept.with_name(f"{kept.name}.part")
            unfinished.mkdir(parents=True, exist_ok=True)
            for split in self.pixels:
                self._table(split).to_parquet(str(unfinished / f"{split}.parquet"))
            unfinished.rename(kept)
        return kept

    def _table(self, split: str) -> Any:
        import datasets
        from PIL import Image

        datasets.disable_progress_bars()
        classes = datasets.ClassLabel(names=[str(label) for label in range(1 + int(self.labels["train"].max()))])
        features = datasets.Features({"image": datasets.Image(), "label": classes})
        rows = {"image": list(map(Image.fromarray, self.pixels[split])), "label": self.labels[split].tolist()}
        return datasets.Dataset.from_dict(rows, features=features)


def images(
    train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike, test_y: ArrayLike, *, name: str = "images"
) -> GivenImages:
    """Give a data set to the method.

    train_x, test_x: square images, [N, H, W] grey or [N, H, W, 3] in colour; uint8, or numbers in [0, 1].
    train_y, test_y: classes from 0, [N].  name: of the set, in results.
    Raises ValueError where the arrays are none of these.

        >>> images([[[0.0, 1.0], [1.0, 0.0]]], [0], [[[1.0, 1.0], [0.0, 0.0]]], [0]).pixels["train"].tolist()
        [[[0, 255], [255, 0]]]
    """
    pixels = {"train": _pixels(train_x, "train_x"), "test": _pixels(test_x, "test_x")}
    labels = {"train": _labels(train_y, "train_y"), "test": _labels(test_y, "test_y")}
    for split in pixels:
        if len(pixels[split]) != len(labels[split]):
            raise ValueError(f"{split}_y: expected {len(pixels[split])} labels, found {len(labels[split])}")
    if labels["test"].max() > labels["train"].max():
        raise ValueError(f"test_y: expected classes up to {labels['train'].max()}, found {labels['test'].max()}")
    return GivenImages(name, pixels, labels)


def _pixels(given: ArrayLike, name: str) -> NDArray[np.uint8]:
    array = np.asarray(given)
    if array.ndim not in (3, 4) or not len(array) or array.shape[3:] not in ((), (3,)):
        raise ValueError(f"{name}: expected images [N, H, W] or [N, H, W, 3], found the shape {list(array.shape)}")
    if array.dtype != np.uint8:
        lowest, highest = float(array.min()), float(array.max())
        if not 0 <= lowest <= highest <= 1:
            raise ValueError(f"{name}: expected uint8 or numbers in [0, 1], found {lowest:.3g} to {highest:.3g}")
        array = np.round(array * 255).astype(np.uint8)
    return np.ascontiguousarray(array)


def _labels(given: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(given)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or not len(array) or array.min() < 0:
        raise ValueError(f"{name}: expected whole numbers from 0, [N], found {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)
