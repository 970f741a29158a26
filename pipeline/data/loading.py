"""Loading: scikit-learn's digits, or a Hugging Face set that is kept in memory or streamed from its Arrow files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.classes import check_classes
from pipeline.data.image_data import ImageData
from pipeline.data.images import Images, ImageSet
from pipeline.data.splitting import SPLIT_SEED, balanced_indices
from pipeline.data.streaming import Decoder, StreamedImages
from pipeline.data.table import ImageTable
from pipeline.faults import first_line
from pipeline.settings import DataSettings

MOST_KEPT_BYTES = 2 * 2**30  # of a split's decoded images in memory, unless more are asked for: parts of it are copies
DECODED_AT_ONCE = 1000  # images
DIGITS_TEST_FRACTION = 0.2


def load(settings: DataSettings) -> ImageData:
    """The data set that the settings name. Raises ValueError that says what is wrong with it."""
    return _digits(settings) if settings.source == "digits" else _huggingface(settings)


def _balanced_subset(images: Images, limit: int | None, key: str) -> Images:
    if limit is None or limit == len(images):
        return images
    _check_limit(limit, len(images), key)
    return images.take(torch.from_numpy(balanced_indices(images.labels.numpy(), limit)))


def _check_limit(limit: int, available: int, key: str) -> None:
    if limit > available:
        raise ValueError(f"{key}={limit} asks for more than the {available} images there are")


def _digits(settings: DataSettings) -> ImageData:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = torch.from_numpy(np.round(digits.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=DIGITS_TEST_FRACTION, stratify=digits.target, random_state=SPLIT_SEED
    )
    everything = Images(pixels, labels)
    names = tuple(str(name) for name in digits.target_names)
    return ImageData(
        "digits",
        _balanced_subset(everything.take(torch.from_numpy(train)), settings.limit, "data.limit"),
        _balanced_subset(everything.take(torch.from_numpy(test)), settings.test_limit, "data.test_limit"),
        names,
    )


@dataclass(frozen=True)
class _Part:
    """A split of a set: its images, and the names of its classes."""

    images: ImageSet
    class_names: tuple[str, ...]


def _huggingface(settings: DataSettings) -> ImageData:
    import datasets

    if settings.path is None:
        raise ValueError("data.path names a local folder or a set on the hub")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs as errors is said here, in one line
    train = _part(datasets, settings, settings.train_split, settings.limit, "data.limit")
    test = _part(datasets, settings, settings.test_split, settings.test_limit, "data.test_limit")
    if train.class_names != test.class_names:
        raise ValueError(f"the classes of {settings.test_split} are not those of {settings.train_split}, in order")
    if train.images.shape != test.images.shape:
        raise ValueError(f"train images are {list(train.images.shape)}, test images {list(test.images.shape)}")
    name = settings.name or Path(settings.path).name
    return ImageData(name, train.images, test.images, train.class_names)


def _part(datasets: Any, settings: DataSettings, split: str, limit: int | None, key: str) -> _Part:
    """One split, or a balanced subset of it; of its images the first alone is decoded before it is known what fits."""
    table = _load_split(datasets, settings, split)
    image_column, label_column = _columns(datasets, table.features, settings)
    names = tuple(table.features[label_column].names)
    check_classes(Path(str(settings.path)), label_column, names)
    labels = table.select_columns(label_column).with_format("numpy")[:][label_column]
    rows = np.arange(len(labels))
    if limit is not None:
        _check_limit(limit, len(labels), key)
        rows = balanced_indices(labels, limit)
    _check_labels(labels, rows, len(names))
    images = ImageTable.like_row(table.select_columns(image_column), image_column, split, int(rows[0]))
    wanted = torch.from_numpy(labels[rows].astype(np.int64))
    if _is_streamed(settings, images, len(rows)):
        return _Part(StreamedImages(Decoder(images, settings.workers), torch.from_numpy(rows), wanted), names)
    return _Part(Images(_decoded(images, rows), wanted), names)


def _is_streamed(settings: DataSettings, images: ImageTable, number: int) -> bool:
    """Whether they are left on disk. Raises ValueError where they are to be kept and do not fit."""
    size = number * int(np.prod(images.shape))
    if settings.streaming is False and 2 * size > _physical_memory():
        raise ValueError(
            f"data.streaming=false: {number:,} images of {list(images.shape)} are {size / 2**30:.1f} GiB, and with the "
            f"parts that they are split into more than this machine's memory; use data.streaming=auto or set data.limit"
        )
    return size > MOST_KEPT_BYTES if settings.streaming == "auto" else settings.streaming


def _physical_memory() -> int:
    """In bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _decoded(images: ImageTable, rows: np.ndarray[Any, Any]) -> Tensor:
    """All of them: uint8 [N, C, H, W]."""
    pixels = torch.empty(len(rows), *images.shape, dtype=torch.uint8)
    for first in range(0, len(rows), DECODED_AT_ONCE):
        part = images.decoded(rows[first : first + DECODED_AT_ONCE].tolist())
        pixels[first : first + DECODED_AT_ONCE] = torch.from_numpy(part)
    return pixels


def _check_labels(labels: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], num_classes: int) -> None:
    """labels: of the whole split, with NaN for those that are missing.  rows: of the images that are wanted."""
    wanted = labels[rows]
    if not len(wanted):
        raise ValueError("expected images, found none")
    expected = f"labels must be 0 to {num_classes - 1}"
    if wanted.dtype.kind not in "iu" and np.isnan(wanted).any():
        raise ValueError(f"{expected}, found none at image {rows[np.isnan(wanted)][0]}")
    if wanted.min() < 0 or wanted.max() >= num_classes:
        raise ValueError(f"{expected}, found {wanted.min()} to {wanted.max()}")


def _load_split(datasets: Any, settings: DataSettings, split_name: str) -> Any:
    try:
        return datasets.load_dataset(settings.path, settings.configuration, split=split_name)
    except Exception as error:  # datasets raises a dozen kinds; all mean that the set cannot be had as asked for
        reasons = dict.fromkeys((first_line(error), first_line(error.__cause__ or error)))
        raise ValueError(
            f"cannot load split {split_name!r} of data.path={settings.path}: {': '.join(reasons)}"
        ) from None


def _columns(datasets: Any, features: Any, settings: DataSettings) -> tuple[str, str]:
    found = []
    for key, wanted, kind in (
        ("image_column", settings.image_column, datasets.Image),
        ("label_column", settings.label_column, datasets.ClassLabel),
    ):
        fitting = [name for name, feature in features.items() if isinstance(feature, kind)]
        if wanted is None and len(fitting) == 1:
            wanted = fitting[0]
        if wanted is None or wanted not in fitting:
            raise ValueError(
                f"data.{key}={wanted or 'null'}: expected one column of type {kind.__name__}; "
                f"the set has {', '.join(fitting) or 'none'} among {', '.join(features)}"
            )
        found.append(wanted)
    return found[0], found[1]
