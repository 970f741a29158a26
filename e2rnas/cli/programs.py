"""The programs of the command line. Each is scripts/<name>.py, `e2rnas <name>` and the module stages/<name>.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the list of programs is shown without what these import
    from pipeline.runs.settings_record import Stage
    from pipeline.settings import Experiment

Direction = Literal["maximize", "minimize"]


def _always_has_figure(experiment: Experiment) -> str | None:
    return None


def _lacks_choice(experiment: Experiment) -> str | None:
    return None if experiment.search.selection.candidates > 1 else "set search.selection.candidates to 2 or more"


@dataclass(frozen=True)
class Program:
    """How a program treats its configuration.

    description: one line for people.
    defaults: overrides that come before the user's own.
    remembers: the stage whose settings in the run folder it starts from.
    one_process: refuse fabric.devices above 1.
    direction: in which the figure gets better that it returns, if it returns one.
    lacks_figure: what to set where a configuration gives none.
    when_out_of_memory: what the user is told to do then.
    """

    description: str
    defaults: tuple[str, ...] = ()
    remembers: Stage | None = None
    one_process: bool = False
    direction: Direction | None = None
    lacks_figure: Callable[[Experiment], str | None] = _always_has_figure
    when_out_of_memory: str = "close what else runs on this machine"


PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        "demo": Program(
            "Search, retrain, evaluate, export and report on scikit-learn's digits.",
            defaults=("experiment=demo",),
            one_process=True,
            when_out_of_memory="lower search.batch_size or retrain.batch_size",
        ),
        "search": Program(
            "Search a cell for accuracy, robustness and size (bi-level, MGDA).",
            remembers="search",
            direction="maximize",
            lacks_figure=_lacks_choice,
            when_out_of_memory="lower search.batch_size or search.channels, or set search.recompute=true",
        ),
        "retrain": Program(
            "Train the network of a searched or published cell from scratch.",
            remembers="retrain",
            direction="maximize",
            when_out_of_memory="lower retrain.batch_size or retrain.channels",
        ),
        "evaluate": Program(
            "Accuracy of a network, clean and under attack, with 95 % intervals.",
            remembers="evaluate",
            when_out_of_memory="lower evaluate.batch_size",
        ),
        "export": Program(
            "Export the cell and the trained network in the forms that other programs read.",
            remembers="export",
            one_process=True,
        ),
        "report": Program("Write report.html, self-contained, and its figures as PNG.", one_process=True),
        "compare": Program(
            "Retrain searched, random and published cells by one recipe, and compare them.",
            one_process=True,
            when_out_of_memory="lower search.batch_size or retrain.batch_size",
        ),
        "pareto": Program(
            "Walk budgets or preferences from one trained supernet, and write the front with its hypervolume.",
            remembers="pareto",
            one_process=True,
            when_out_of_memory="lower search.batch_size or search.channels, or set search.recompute=true",
        ),
        "meta_train": Program(
            "Train a learned optimizer on families of small tasks (es, rp, merged, persistent es).",
            remembers="meta_train",
            one_process=True,
            direction="minimize",
            when_out_of_memory="lower meta.processes, meta.pairs or meta.last_length",
        ),
        "cells": Program("Published cells and their sizes.", one_process=True),
    }
)
