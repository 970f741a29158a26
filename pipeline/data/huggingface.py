"""Sets that the library `datasets` reads: opened, looked over, and their columns found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.compute.faults import first_line
from pipeline.data.set_files import SetFiles, UnusableSetError, check_cards, check_folder, is_inside
from pipeline.settings import DataSettings

IMAGE_FOLDER, PARQUET = "imagefolder", "parquet"  # two of the library's readers, as are those of READ
PREPARED = "cache"  # what the library kept of a set of the hub that cannot be reached
READ = (IMAGE_FOLDER, PARQUET, "arrow", "csv", "json", "webdataset", PREPARED)
LAYOUT = "train/<class>/*.png and test/<class>/*.png"
WORD_OR_NUMBER = re.compile(r"(large_)?string|bool|u?int\d+")  # types of columns
ENCODED = {"bytes", "path"}  # of an image, in a column of a table
OTHER_LAYOUT = re.compile(r"metadata\.\w+|.*\.zip")  # files that list images, or that hold folders of their own


@dataclass(frozen=True)
class SetSplit:
    """A part of a set.  rows: a datasets.Dataset.  files: where images may lie that the rows name."""

    name: str
    rows: Any
    files: SetFiles


@dataclass(frozen=True)
class HuggingFaceSet:
    """A set whose files were looked over.  builder: of `datasets`.  files: where images may lie."""

    settings: DataSettings
    builder: Any
    files: SetFiles

    @property
    def parquet_files(self) -> list[Path]:
        """Those of a local set that is made of them."""
        return [Path(name) for name in _named(self.builder) if self.builder.name == PARQUET and "://" not in name]

    def split(self, name: str) -> SetSplit:
        """A split by its name. Raises ValueError where it cannot be had."""
        with _refusals(self.settings, name):
            self.builder.download_and_prepare()
            return SetSplit(name, _with_images(self.builder.as_dataset(split=name)), self.files)


def opened(settings: DataSettings) -> HuggingFaceSet:
    """Return the set that the settings name. Raises ValueError where it cannot be had or leads out of itself."""
    import datasets
    from huggingface_hub.utils import logging as hub_logging

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs as errors is said here, in one line
    hub_logging.set_verbosity_error()  # of a hub that is not reached it would tell each attempt in two lines
    path = str(settings.path)
    is_local = os.path.isdir(path)  # noqa: PTH112 - no name is too long for it, as it would be for Path
    if not is_local and os.path.exists(path):  # noqa: PTH110
        raise UnusableSetError(f"data.path={path} is not a folder; expected one, or the name of a set on the hub")
    with _refusals(settings, settings.train_split):
        if is_local:
            check_folder(path)
            check_cards(path)
        builder = datasets.load_dataset_builder(path, settings.configuration)
    if builder.name not in READ:
        raise UnusableSetError(
            f"data.path={path}: its files are read as {builder.name}; expected images in folders, "
            "or Parquet, Arrow, CSV, JSON or WebDataset files"
        )
    files = _local_files(path, builder) if is_local else hub_files(path, builder)
    if is_local and builder.name == IMAGE_FOLDER:
        _check_layout(settings, path, builder.config.data_files)
    return HuggingFaceSet(settings, builder, files)


@contextmanager
def _refusals(settings: DataSettings, split: str) -> Iterator[None]:
    try:
        yield
    except UnusableSetError:
        raise
    except Exception as error:  # datasets raises a dozen kinds; all mean that the set cannot be had as asked for
        reasons = dict.fromkeys((first_line(error), first_line(error.__cause__ or error)))
        where = "" if os.path.isdir(str(settings.path)) else ", which is no folder here"  # noqa: PTH112 - as above
        whole = f"cannot load split {split!r} of data.path={settings.path}{where}: {': '.join(reasons)}"
        raise ValueError(whole) from None


def _local_files(path: str, builder: Any) -> SetFiles:
    root = os.path.realpath(path)
    for name in _named(builder):
        if not is_inside(os.path.realpath(name), (root,)):
            raise UnusableSetError(f"data.path={path}: its files are to include {name}, which is outside of the set")
    return SetFiles(root, (root,))


def hub_files(path: str, builder: Any) -> SetFiles:
    """Where the files of a set of the hub were downloaded to. Raises UnusableSetError where it names other files."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    name = builder.repo_id or path
    for address in _named(builder):
        if not address.startswith((f"hf://datasets/{name}@", f"hf://datasets/{name}/")):
            raise UnusableSetError(f"data.path={path}: its files are to include {address}, which is outside of the set")
    folder = os.path.realpath(Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="dataset")))
    return SetFiles(folder, (folder,))


def _named(builder: Any) -> list[str]:
    """Return the files of all splits."""
    return [str(name) for names in (builder.config.data_files or {}).values() for name in names]


def _check_layout(settings: DataSettings, path: str, files: dict[str, list[str]]) -> None:
    """Raise UnusableSetError where the images of a local folder lie in folders, and not as LAYOUT says."""
    paths = {str(split): [Path(name) for name in names] for split, names in files.items()}
    if any(OTHER_LAYOUT.fullmatch(file.name) for names in paths.values() for file in names):
        return
    example = os.path.relpath(next(iter(paths.values()))[0], os.path.realpath(path))
    expected = f"data.path={path}: expected a folder for every class, {LAYOUT}"
    splits = (settings.train_split, settings.test_split)
    for split in splits:
        if split.isidentifier() and split not in paths:
            raise UnusableSetError(f"{expected}; found no split {split}, but {', '.join(paths)}, with {example}")
    classes = [{file.parent.name for file in paths.get(split, ())} for split in splits]
    if all(classes) and classes[0].isdisjoint(classes[1]):
        raise UnusableSetError(f"{expected}; found {example}, and no class that is in both splits")
    if all(classes) and len(classes[0]) == 1:
        raise UnusableSetError(
            f"{expected}, of two classes or more; found {', '.join(classes[0])} alone, with {example}"
        )


def _with_images(rows: Any) -> Any:
    """Take for images what programs without the library's own notes write as such: bytes, or bytes and a path."""
    import datasets

    for name, feature in rows.features.items():
        if (isinstance(feature, dict) and set(feature) == ENCODED) or feature == datasets.Value("binary"):
            rows = rows.cast_column(name, datasets.Image())
    return rows


def columns(features: Any, settings: DataSettings) -> tuple[str, str]:
    """Return the names of the columns of images and of labels. Raises ValueError where there is no one of a kind."""
    import datasets

    def one(key: str, wanted: str | None, kind: str, fitting: list[str]) -> str:
        if wanted is None and len(fitting) == 1:
            wanted = fitting[0]
        if wanted is None or wanted not in fitting:
            raise ValueError(
                f"data.{key}={wanted or 'null'}: expected one column of {kind}; "
                f"the set has {', '.join(fitting) or 'none'} among {', '.join(features)}"
            )
        return wanted

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    values = [name for name, feature in features.items() if _is_word_or_number(feature)]
    if settings.label_column is not None:
        labels = [*classes, *values]
    else:
        labels = classes or (["label"] if "label" in values else values)
    return (
        one("image_column", settings.image_column, "type Image", images),
        one("label_column", settings.label_column, "type ClassLabel, of words or of whole numbers", labels),
    )


def _is_word_or_number(feature: Any) -> bool:
    import datasets

    return isinstance(feature, datasets.Value) and bool(WORD_OR_NUMBER.fullmatch(feature.dtype))
