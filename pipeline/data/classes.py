"""The classes of a set on disk or on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
