"""Images that are given as arrays, kept in the run folder so that the command line goes on with them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pipeline.data import Images

SET_DIGITS = 12  # of a digest that tells sets apart
LEVEL_ROUNDING = 0.01  # of a level: half precision is farther off


@dataclass(frozen=True)
class GivenImages:
    """Hold a data set from `images`.

    name: of the set, in results.  pixels, labels: of each split, uint8 [N, H, W] or [N, H, W, 3] and int64 [N].
    """

    name: str
    pixels: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]

    def test(self) -> Images:
        """Return the test images, uint8 [N, C, H, W]."""
        pixels = self.pixels["test"]
        grey = pixels if pixels.ndim == 4 else pixels[..., None]
        return Images(torch.from_numpy(grey.transpose(0, 3, 1, 2)), torch.from_numpy(self.labels["test"]))

    def digest(self) -> str:
        """Tell these images and labels apart from others, in hexadecimal digits."""
        found = hashlib.sha256()
        for split, pixels in self.pixels.items():
            found.update(f"{split} {pixels.shape}".encode() + pixels.tobytes() + self.labels[split].tobytes())
        return found.hexdigest()[:SET_DIGITS]

    def place_in(self, folder: Path) -> Path:
        """Return where a run folder keeps them, from the root: a notebook may be opened elsewhere."""
        return folder.resolve() / f"images-{self.digest()}"

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return the keys of data.* by which a run folder's stages find all of them."""
        kept = {"source": "huggingface", "path": self.place_in(folder), "name": self.name}
        return {**kept, "limit": None, "test_limit": None}

    @contextmanager
    def kept_in(self, folder: Path) -> Iterator[None]:
        """Write the set into a run folder for the work inside, unless it is there.

        Where ValueError refuses the work before it has written anything, the folder is left as it was.
        """
        place = self.place_in(folder)
        made = [path for path in (place, *place.parents) if not path.exists()]
        before = set(place.parent.glob("*"))
        if place in made:
            self._write(place)
        try:
            yield
        except ValueError:
            if place in made and set(place.parent.glob("*")) - before == {place}:
                shutil.rmtree(place)
                for path in made[1:]:
                    path.rmdir()
            raise

    def _write(self, place: Path) -> None:
        """Write a Parquet file a split; the folder is there once both are."""
        unfinished = place.with_name(f"{place.name}.part")
        unfinished.mkdir(parents=True, exist_ok=True)
        for split in self.pixels:
            self._table(split).to_parquet(str(unfinished / f"{split}.parquet"))
        unfinished.rename(place)

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
    """Give a data set to the method; a run folder keeps it as 8 bits a value.

    train_x, test_x: square images, [N, H, W] grey or [N, H, W, 3] in colour; uint8, or such levels over 255, in [0, 1].
    train_y, test_y: classes from 0, [N].
    name: of the set, in results.
    Raises ValueError where the arrays are none of these.

        >>> import numpy as np
        >>> grey, colour = np.zeros((4, 8, 8), np.uint8), np.ones((2, 8, 8, 3))
        >>> images(grey, [0, 1, 2, 2], grey[:2], [2, 0]).pixels["test"].shape
        (2, 8, 8)
        >>> int(images(colour, [0, 1], colour, [0, 1]).pixels["train"].max())
        255
    """
    pixels = {"train": _pixels(train_x, "train_x"), "test": _pixels(test_x, "test_x")}
    labels = {"train": _labels(train_y, "train_y"), "test": _labels(test_y, "test_y")}
    for split in pixels:
        if len(pixels[split]) != len(labels[split]):
            raise ValueError(f"{split}_y: expected {len(pixels[split])} labels, found {len(labels[split])}")
    shapes = {split: list(array.shape[1:]) for split, array in pixels.items()}
    if shapes["train"] != shapes["test"]:
        raise ValueError(f"test_x: expected images {shapes['train']} like those of train_x, found {shapes['test']}")
    if labels["test"].max() > labels["train"].max():
        raise ValueError(f"test_y: expected classes up to {labels['train'].max()}, found {labels['test'].max()}")
    return GivenImages(name, pixels, labels)


def _pixels(given: ArrayLike, name: str) -> NDArray[np.uint8]:
    array = np.asarray(given)
    if array.ndim not in (3, 4) or not len(array) or array.shape[3:] not in ((), (3,)):
        raise ValueError(f"{name}: expected images [N, H, W] or [N, H, W, 3], found the shape {list(array.shape)}")
    if array.dtype != np.uint8:
        array = _levels(array, name)
    return np.ascontiguousarray(array)


def _levels(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return the levels of 8 bits that numbers in [0, 1] stand for. Raises ValueError where they lie between levels."""
    lowest, highest = float(array.min()), float(array.max())
    if not 0 <= lowest <= highest <= 1:
        raise ValueError(f"{name}: expected uint8 or numbers in [0, 1], found {lowest:.3g} to {highest:.3g}")
    levels = np.round(array * 255)
    far = np.abs(array * 255 - levels) > LEVEL_ROUNDING
    if far.any():
        raise ValueError(
            f"{name}: expected uint8 or multiples of 1/255, as 8 bits are kept, found {float(array[far][0]):.6g}; "
            f"round them by np.round({name} * 255).astype(np.uint8)"
        )
    return levels.astype(np.uint8)


def _labels(given: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(given)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or not len(array) or array.min() < 0:
        raise ValueError(f"{name}: expected whole numbers from 0, [N], found {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)
