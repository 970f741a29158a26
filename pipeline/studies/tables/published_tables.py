"""Benchmarks of others, read as tables: accuracies of NAS-Bench-201's cells in the form in which they were published.

    FOLDER/DATA     the robustness dataset (Jung et al. 2023): FOLDER/meta.json, FOLDER/DATA/KEY_accuracy.json
    FILE.json/DATA  NAS-RobBench-201 (Wu et al. 2024): NAS-RobBench-201_all.json, with the same meta.json beside it

Both are JSON, and nothing that is read here can run code. Sizes are those of NAS-Bench-201's networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN
from pipeline.runs.files import read_json
from pipeline.runs.schemas import Share, checked
from search_space import Genotype, NetworkCost, canonical_form, network_cost

META = "meta.json"
ACCURACY = "_accuracy.json"
CHANNELS, LAYERS = 16, 17  # of NAS-Bench-201's networks: five cells at each of three sizes, and two reductions
IMAGES = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet": (120, 16)}
"""How names of data sets begin: classes, and height and width of an image."""

PICKLES = frozenset({".pth", ".pt", ".pkl", ".pickle", ".pbz2", ".bz2"})
CLEAN_METRIC = "val_acc"  # as NAS-RobBench-201 calls the accuracy on images as they are
OPERATIONS = frozenset({"none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"})
SHOWN = 12  # names in an error

Accuracies = Mapping[str, tuple[float, ...]]
"""By architecture id: the accuracy of each training."""


@dataclass(frozen=True)
class PublishedCell:
    """One cell: its size, and by attack the accuracy of each training on the images that judge it."""

    genotype: Genotype
    cost: NetworkCost
    accuracies: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class PublishedTable:
    """What others published on one set of images, under one attack and, where it is given, without any."""

    data: str
    attack: str
    cells: list[PublishedCell]


def find_published(path: Path) -> tuple[Path, str | None] | None:
    """Return the folder or file of a benchmark of others, and the data set that the path names; None for another path.

    Raises RunError for a pickle, which could run code when it is read.
    """
    for place, data in ((path, None), (path.parent, path.name)):
        if (place / META).is_file() and (data is None or _keys(path)):
            return place, data
        if place.suffix == ".json" and place.is_file() and (place.parent / META).is_file():
            return place, data
    if path.suffix in PICKLES or (path.is_dir() and any(path.glob("*.pbz2"))):
        raise RunError(
            f"{path} holds pickles, which can run code when they are read; clean accuracies of the same trainings are "
            "in the robustness dataset of Jung et al. (2023), whose JSON is read"
        )
    return None


def read_published(place: Path, data: str | None, attack: str | None) -> PublishedTable:
    """Read what `find_published` found.

    attack: by the benchmark's own name, such as `pgd@Linf_eps-1.0` or `val_pgd_8.0_acc`; needed where it has several.
    Of cells that compute the same function the first one stands for all, and cells without a way from their input to
    their output are left out, as in other tables. Raises ValueError that lists what can be chosen, and RunError that
    names a file that is something else.
    """
    data, by_attack, attack = (_of_folder if place.is_dir() else _of_file)(place, data, attack)
    classes, size = _images(place, data)
    cells: dict[str, PublishedCell] = {}
    meta = (place if place.is_dir() else place.parent) / META
    for number, text in _cells(meta):
        if number not in by_attack[attack]:
            continue
        genotype = _genotype(text, meta)
        if not genotype.normal.passes_on(True):
            continue
        found = {name: accuracies[number] for name, accuracies in by_attack.items() if number in accuracies}
        cell = PublishedCell(genotype, _cost(_multiset(genotype), classes, size), found)
        cells.setdefault(canonical_form(genotype), cell)
    if len({len(cell.accuracies[attack]) for cell in cells.values()}) != 1:
        raise RunError(f"{place}: expected cells with as many trainings each under {attack}, and at least one cell")
    return PublishedTable(data, attack, list(cells.values()))


def _of_folder(place: Path, data: str | None, attack: str | None) -> tuple[str, dict[str, Accuracies], str]:
    """Read the robustness dataset: one training a cell; the values of a key are listed by the attack's strengths."""
    folders = sorted(folder.name for folder in place.iterdir() if folder.is_dir() and _keys(folder))
    data = _chosen(data, folders, f"{place}: data set", "FOLDER/DATA")
    keys = _keys(place / data)
    meta = _inside(read_json(place / META), place / META)
    strengths = checked(meta.get("epsilons", {}), dict[str, tuple[float, ...]], f"{place / META}: epsilons")
    columns = {name: (key, column) for key in keys for name, column in _names(key, strengths.get(key))}
    attack = _chosen_attack(attack, list(columns), place)
    found: dict[str, Accuracies] = {}
    for name in sorted({CLEAN, attack} & columns.keys()):
        key, column = columns[name]
        file = place / data / f"{key}{ACCURACY}"
        values = _inside(read_json(file), file, data, key, "accuracy")
        found[name] = _column(values, column, len(strengths.get(key, ())), file)
    return data, found, attack


def _names(key: str, strengths: Sequence[float] | None) -> Iterator[tuple[str, int | None]]:
    """Yield the attacks of a key, with the place of each in its lists; none where its values are no lists."""
    if strengths is None:
        yield key, None
    else:
        yield from ((f"{key}_eps-{strength}", place) for place, strength in enumerate(strengths))


def _column(values: Any, column: int | None, length: int, file: Path) -> Accuracies:
    if column is None:
        single = checked(values, dict[str, Share], str(file))
        return {number: (value,) for number, value in single.items()}
    listed = checked(values, dict[str, tuple[Share, ...]], str(file))
    if any(len(row) != length for row in listed.values()):
        raise RunError(f"{file}: expected lists of {length} values, one for each of epsilons in {META}")
    return {number: (row[column],) for number, row in listed.items()}


def _of_file(place: Path, data: str | None, attack: str | None) -> tuple[str, dict[str, Accuracies], str]:
    """Read NAS-RobBench-201: a metric is one number, or one for each training and their mean in words."""
    content = _inside(read_json(place), place)
    data = _chosen(data, list(content), f"{place}: data set", "FILE.json/DATA")
    rows = {number: _inside(content, place, data, number) for number in _inside(content, place, data)}
    metrics = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {CLEAN if name == CLEAN_METRIC else name: name for name in metrics}
    attack = _chosen_attack(attack, list(columns), place)
    found: dict[str, Accuracies] = {
        name: {number: _trainings(row[columns[name]], place) for number, row in rows.items() if columns[name] in row}
        for name in sorted({CLEAN, attack} & columns.keys())
    }
    return data, found, attack


def _trainings(value: Any, place: Path) -> tuple[float, ...]:
    """Return the numbers of a metric whose names are numbers too; its mean where there are none."""
    if not isinstance(value, dict):
        return (checked(value, Share, str(place)),)
    by_name = checked(value, dict[str, Share], str(place))
    numbered = [by_name[name] for name in sorted(filter(str.isdecimal, by_name), key=int)]
    return tuple(numbered or by_name.values())


def _cells(meta: Path) -> Iterator[tuple[str, str]]:
    """Yield id and text of the architectures that stand for all that their authors count as the same."""
    for number, entry in _inside(read_json(meta), meta, "ids").items():
        texts = checked(entry, dict[str, str], f"{meta}: ids.{number}")
        if "nb201-string" not in texts or "isomorph" not in texts:
            raise RunError(f"{meta}: ids.{number}: expected nb201-string and isomorph")
        if texts["isomorph"] == number:
            yield number, texts["nb201-string"]


def _genotype(text: str, meta: Path) -> Genotype:
    try:
        genotype = Genotype.from_nasbench201(text)
    except ValueError as error:
        raise RunError(f"{meta}: {error}") from None
    if [[edge.source for edge in node] for node in genotype.normal.nodes] != [[0], [0, 1], [0, 1, 2]] or not (
        {edge.operation for edge in genotype.normal.edges} <= OPERATIONS
    ):
        raise RunError(f"{meta}: expected cells of NAS-Bench-201, found {text[:60]!r}")
    return genotype


def _multiset(genotype: Genotype) -> tuple[str, ...]:
    return tuple(sorted(edge.operation for edge in genotype.normal.edges))


@cache
def _cost(operations: tuple[str, ...], classes: int, size: int) -> NetworkCost:
    """Return the cost of networks whose cells hold these six operations: no edge differs from another in size."""
    a, b, c, d, e, f = operations
    genotype = Genotype.from_nasbench201(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
    return network_cost(genotype, channels=CHANNELS, layers=LAYERS, num_classes=classes, image_size=size)


def _keys(folder: Path) -> list[str]:
    """Return what the files of a data set's folder measure."""
    return sorted(file.name.removesuffix(ACCURACY) for file in folder.glob(f"*{ACCURACY}"))


def _images(place: Path, data: str) -> tuple[int, int]:
    """Return the classes and the size of a data set's images, by the beginning of its name; longer ones first."""
    for name in sorted(IMAGES, key=len, reverse=True):
        if re.fullmatch(rf"{name}[a-z0-9_-]*", data.lower()):
            return IMAGES[name]
    raise RunError(f"{place}: sizes of networks are known for {', '.join(IMAGES)}, not for {data[:60]!r}")


def _chosen_attack(attack: str | None, names: Sequence[str], place: Path) -> str:
    others = [name for name in names if name != CLEAN]
    if attack == CLEAN and CLEAN in names:
        return CLEAN
    return _chosen(attack, others or list(names), f"{place}: attack", "it by study.attack, or load_table's attack")


def _chosen(given: str | None, names: Sequence[str], what: str, how: str) -> str:
    """Return what was given, or the only one there is."""
    if given is None and len(names) == 1:
        return names[0]
    if given is None or given not in names:
        _refuse(given, names, what, how)
    return given


def _refuse(given: str | None, names: Sequence[str], what: str, how: str) -> NoReturn:
    found = "none is named" if given is None else f"found {given!r}"
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    raise ValueError(f"{what}: {found}, expected one of {shown or 'none, as there is none'}; name {how}")


def _inside(content: Any, path: Path, *keys: str) -> dict[str, Any]:
    """Return the object under these keys. Raises RunError that names the file where there is none."""
    for depth, key in enumerate((*keys, None)):
        if not isinstance(content, dict) or (key is not None and key not in content):
            where = ".".join(keys[:depth]) or "the file"
            raise RunError(f"{path}: {where}: expected an object" + (f" with {key!r}" if key is not None else ""))
        content = content if key is None else content[key]
    found: dict[str, Any] = content
    return found
