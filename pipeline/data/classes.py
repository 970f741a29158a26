"""The classes of a set on disk or on the hub, and the labels of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.huggingface import SetSplit

MOST_NAMES = 10  # of classes in a message

Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Labelled:
    """The names of the classes, and the label of every image of both splits."""

    class_names: tuple[str, ...]
    train: Labels
    test: Labels


def read_labels(column: str, train: SetSplit, test: SetSplit, parquet_files: Sequence[Path]) -> Labelled:
    """The labels in a column of two splits: class labels, or words or numbers, whose classes are those of `train`.

    parquet_files: of which the splits are made, where they are.
    Words are numbered in the order of their letters, numbers in their own.
    Raises ValueError where a label is missing or no class, or of a class that `train` has no image of.
    """
    import datasets

    given = tuple(split.rows.with_format("arrow")[:][column] for split in (train, test))
    feature = train.rows.features[column]
    if isinstance(feature, datasets.ClassLabel):
        names = tuple(feature.names)
        check_classes(column, names, parquet_files)
        expected = f"labels must be 0 to {len(names) - 1}"
        labels = [_class_labels(values, len(names), expected) for values in given]
    else:
        known = sorted(set().union(*(values.unique().drop_null().to_pylist() for values in given)))
        names = tuple(str(name) for name in known)
        _check_number(column, names)
        labels = [
            _numbered(values, known, f"data.label_column={column}: expected words or numbers") for values in given
        ]
    unseen = np.setdiff1d(labels[1], labels[0])
    if len(unseen):
        raise ValueError(
            f"data.label_column={column}: expected images of every class in split {train.name}; "
            f"found {_listed([names[label] for label in unseen])} in split {test.name} alone"
        )
    return Labelled(names, *labels)


def _class_labels(values: Any, number: int, expected: str) -> Labels:
    _check_whole(values, expected)
    labels: Labels = values.to_numpy().astype(np.int64)
    if len(labels) and (labels.min() < 0 or labels.max() >= number):
        raise ValueError(f"{expected}, found {labels.min()} to {labels.max()}")
    return labels


def _numbered(values: Any, known: Sequence[Any], expected: str) -> Labels:
    import pyarrow
    import pyarrow.compute

    _check_whole(values, expected)
    labels: Labels = pyarrow.compute.index_in(values, pyarrow.array(known, values.type)).to_numpy().astype(np.int64)
    return labels


def _check_whole(values: Any, expected: str) -> None:
    if values.null_count:
        missing = np.flatnonzero(values.is_null().to_numpy())[0]
        raise ValueError(f"{expected}, found none at image {missing}")


def check_classes(column: str, names: tuple[str, ...], parquet_files: Sequence[Path]) -> None:
    """Raise ValueError where there are too few classes, or a Parquet file numbers others.

    datasets takes the classes of the first file for those of all.
    """
    import datasets
    import pyarrow.parquet

    _check_number(column, names)
    for path in sorted(parquet_files):
        own = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(path)).get(column)
        if isinstance(own, datasets.ClassLabel) and tuple(own.names) != names:
            raise ValueError(
                f"data.label_column={column}: expected one list of classes in all files, {_listed(names)}; "
                f"found {_listed(own.names)} in {path}"
            )


def _check_number(column: str, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise ValueError(f"data.label_column={column}: expected at least 2 classes, found {', '.join(names) or 'none'}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
