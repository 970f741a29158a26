"""Loading: scikit-learn's digits, or a Hugging Face set that is kept in memory or streamed from its Arrow files."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.data.classes import Labels, read_labels
from pipeline.data.decoding import Conversions, say_counted
from pipeline.data.huggingface import SetSplit, columns, opened
from pipeline.data.image_data import ImageData
from pipeline.data.images import Images, ImageSet
from pipeline.data.splitting import SPLIT_SEED, balanced_indices
from pipeline.data.streaming import Decoder, StreamedImages
from pipeline.data.table import ImageTable, other_size_hint
from pipeline.settings import DataSettings

MOST_KEPT_BYTES = 2 * 2**30  # of a split's decoded images in memory, unless more are asked for: parts of it are copies
DECODED_AT_ONCE = 1000  # images
DIGITS_TEST_FRACTION = 0.2


def load(settings: DataSettings) -> ImageData:
    """Load the data set that the settings name. Raises ValueError that says what is wrong with it."""
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
        settings.set_name,
        _balanced_subset(everything.take(torch.from_numpy(train)), settings.limit, "data.limit"),
        _balanced_subset(everything.take(torch.from_numpy(test)), settings.test_limit, "data.test_limit"),
        names,
    )


@dataclass(frozen=True)
class _Part:
    """The images of a split that are wanted: rows of its table, int64 [N], with their labels, int64 [N]."""

    table: ImageTable
    rows: Labels
    labels: Labels

    def images(self, settings: DataSettings) -> ImageSet:
        """Return the images, streamed or in memory."""
        labels = torch.from_numpy(self.labels)
        if _is_streamed(settings, self.table, len(self.rows)):
            return StreamedImages(Decoder(self.table, settings.workers), torch.from_numpy(self.rows), labels)
        return Images(_decoded(self.table, self.rows), labels)


def _huggingface(settings: DataSettings) -> ImageData:
    source = opened(settings)
    train_split, test_split = source.split(settings.train_split), source.split(settings.test_split)
    image_column, label_column = columns(train_split.rows.features, settings)
    labelled = read_labels(label_column, train_split, test_split, source.parquet_files)
    train = _part(train_split, image_column, labelled.train, settings, "limit")
    test = _part(test_split, image_column, labelled.test, settings, "test_limit")
    train = replace(train, table=train.table.with_colours_of(train.rows.tolist()))
    if train.table.is_in_colour:
        test = replace(test, table=test.table.in_colour())
    if train.table.shape != test.table.shape:
        raise ValueError(
            f"train images are {list(train.table.shape)}, test images {list(test.table.shape)}; expected the same"
            f"{other_size_hint(test.table.shape, train.table.shape)}"
        )
    return ImageData(settings.set_name, train.images(settings), test.images(settings), labelled.class_names)


def _part(split: SetSplit, column: str, labels: Labels, settings: DataSettings, limit_key: str) -> _Part:
    """A split, or a balanced subset of it; of its images the first alone is decoded."""
    rows, limit = np.arange(len(labels)), getattr(settings, limit_key)
    if limit is not None:
        _check_limit(limit, len(labels), f"data.{limit_key}")
        rows = balanced_indices(labels, limit)
    if not len(rows):
        raise ValueError(f"split {split.name} of data.path: expected images, found none")
    return _Part(ImageTable.like_row(split, column, int(rows[0]), settings.image_size), rows, labels[rows])


def _is_streamed(settings: DataSettings, images: ImageTable, number: int) -> bool:
    """Return whether they are left on disk. Raises ValueError where they are to be kept and do not fit."""
    size = number * int(np.prod(images.shape))
    if settings.streaming is False and 2 * size > _physical_memory():
        raise ValueError(
            f"data.streaming=false: {number:,} images of {list(images.shape)} are {size / 2**30:.1f} GiB, and with the "
            f"parts that they are split into more than this machine's memory; use data.streaming=auto or set data.limit"
        )
    return size > MOST_KEPT_BYTES if settings.streaming == "auto" else settings.streaming


def _physical_memory() -> int:
    """Ask the system how much memory it has, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _decoded(images: ImageTable, rows: Labels) -> Tensor:
    """Decode all of them: uint8 [N, C, H, W]. Says on standard error how many were converted."""
    pixels, conversions = torch.empty(len(rows), *images.shape, dtype=torch.uint8), Conversions()
    for first in range(0, len(rows), DECODED_AT_ONCE):
        part, converted = images.decoded(rows[first : first + DECODED_AT_ONCE].tolist())
        pixels[first : first + DECODED_AT_ONCE] = torch.from_numpy(part)
        conversions += converted
    say_counted(conversions, len(rows), images.split)
    return pixels
