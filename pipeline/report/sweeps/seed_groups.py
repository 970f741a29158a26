"""Many runs together: those that differ in their seed alone are one group, with a mean and a spread."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, strongest
from pipeline.presentation.words import shown
from pipeline.report.reproduction import NOT_COMPARED
from pipeline.report.run_reader import LOOKED_FOR, RunContents, Runs
from pipeline.runs.metrics import flattened
from pipeline.studies.comparison.comparison_statistics import deviation
from pipeline.studies.pareto.front import nondominated

MOST_KEYS = 3  # in a group's name; where more differ, it has the name of its first run
SIZES = {"parameters": "parameters", "macs": "conv_linear_macs"}


@dataclass(frozen=True)
class Spread:
    """Of several runs. deviation: of the sample, NaN of one.  low, high: the extremes."""

    mean: float
    deviation: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Group:
    """Measured runs whose settings differ in the seed alone; a cell that was searched is part of the outcome.

    asked, shared: in words, by key, the settings in which the groups differ, and those that all have.
    """

    name: str
    asked: Mapping[str, str]
    shared: Mapping[str, str]
    runs: Runs

    @property
    def seeds(self) -> list[int]:
        """List the seeds of its runs, by the first stage of each."""
        return [next(iter(run.settings.values()))["seed"] for run in self.runs.values()]

    def accuracy(self, attack: str) -> Spread | None:
        """Summarise the accuracies of the runs that met the attack; None where none did."""
        found = (result for run in self.runs.values() for result in run.accuracies if result.attack == attack)
        return spread([result.accuracy for result in found])

    def size(self, name: str) -> Spread | None:
        """Summarise a size of the networks. name: a key of SIZES."""
        return spread([run.cost[SIZES[name]] for run in self.runs.values() if run.cost])

    def mean_size(self, name: str) -> float:
        """Return the mean of `size`; infinite where no network could be counted."""
        found = self.size(name)
        return found.mean if found else math.inf


def spread(values: Sequence[float]) -> Spread | None:
    """Mean, sample standard deviation and extremes; None of no value. The mean of equal values is that value."""
    if not values:
        return None
    return Spread(statistics.mean(values), deviation(values), min(values), max(values), len(values))


def runs_in(folder: Path) -> list[Path]:
    """Return the folder itself where it is a run; else the run folders below it, in the order of their paths.

    Raises RunError where there is none.
    """
    found = list(_below(folder)) if folder.is_dir() else []
    if not found:
        raise RunError(
            f"{folder} holds nothing to report, nor do folders in it; looked for {', '.join(LOOKED_FOR)}. "
            "Run search.py first"
        )
    return found


def _below(folder: Path) -> Iterator[Path]:
    if any((folder / name).exists() for name in LOOKED_FOR):
        yield folder
        return
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from _below(inner)


def groups(runs: Runs) -> list[Group]:
    """Return the measured runs in groups, in the order of their first runs."""
    found: dict[str, dict[str, RunContents]] = {}
    for label, run in runs.items():
        if run.accuracies:
            found.setdefault(_identity(run), {})[label] = run
    settings = [_in_words(next(iter(of.values()))) for of in found.values()]
    keys = dict.fromkeys(key for of in settings for key in of)
    differing = [key for key in keys if len({of.get(key) for of in settings}) > 1]
    asked = [{key: of.get(key, "-") for key in differing} for of in settings]
    shared = {key: value for key, value in (settings[0] if settings else {}).items() if key not in differing}
    names = _names(asked, [list(of) for of in found.values()])
    return [Group(name, own, shared, of) for name, own, of in zip(names, asked, found.values(), strict=True)]


def strongest_of(found: Sequence[Group]) -> str:
    """The Linf attack that a run of every group met and that leaves the least accuracy; `clean` where there is none."""
    return strongest(
        {
            group.name: list(
                {result.attack: result for run in group.runs.values() for result in run.accuracies}.values()
            )
            for group in found
        }
    )


def members(found: Sequence[Group]) -> Runs:
    """Return the runs of all groups."""
    return {label: run for group in found for label, run in group.runs.items()}


def front(found: Sequence[Group], attack: str) -> list[bool]:
    """Say of each group whether no other has means at least as good in all four objectives, and better in one.

    attack: one that every group met.  A size that could not be counted is as if it were the largest.
    """
    if not found:
        return []
    accuracies = [tuple(spread.mean for spread in (g.accuracy(CLEAN), g.accuracy(attack)) if spread) for g in found]
    return nondominated([(*pair, *map(g.mean_size, SIZES)) for pair, g in zip(accuracies, found, strict=True)])


def _asked(run: RunContents) -> Iterator[tuple[str, Any]]:
    """Yield settings of all stages but the seed; a walk is a stage of its own."""
    for stage, settings in run.settings.items():
        for key, value in flattened(settings).items() if stage != "pareto" else ():
            if key != "seed" and not key.startswith(NOT_COMPARED):
                yield key, value


def _identity(run: RunContents) -> str:
    """Equal for runs of one group."""
    cell = None if run.search or run.genotype is None else run.genotype.to_json()
    return json.dumps([cell, None if run.search else run.name, dict(_asked(run))], sort_keys=True)


def _in_words(run: RunContents) -> dict[str, str]:
    cell = {} if run.search else {"cell": run.name}
    return cell | {key: shown(key, value) for key, value in _asked(run)}


def _names(told_apart: Sequence[Mapping[str, str]], labels: Sequence[Sequence[str]]) -> list[str]:
    """Return the folders that the runs of each group share; else the settings that differ; else the first runs."""
    shared = [_shared_folder(paths) for paths in labels]
    if len(shared) == 1:
        return [shared[0] or "all runs"]
    if all(shared) and len(set(shared)) == len(shared):
        return shared
    if all(0 < len(of) <= MOST_KEYS for of in told_apart):
        return [", ".join(f"{key} {value}" for key, value in of.items()) for of in told_apart]
    return [paths[0] for paths in labels]


def _shared_folder(labels: Sequence[str]) -> str:
    """Return the whole folders that paths have in common; of one path all of it."""
    shared = []
    for parts in zip(*(Path(label).parts for label in labels), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)
