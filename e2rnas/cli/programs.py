"""The programs of the command line. Each is scripts/<name>.py, `e2rnas <name>` and a module of stages/."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

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
    keys: settings of its own, or groups of them, which --help shows.
    examples: arguments for --help.
    defaults: overrides that come before the user's own.
    remembers: the stage whose settings in the run folder it starts from.
    one_process: refuse fabric.devices above 1.
    direction: in which the figure gets better that it returns, if it returns one.
    lacks_figure: what to set where a configuration gives none.
    when_out_of_memory: what the user is told to do then.
    command: its name in `e2rnas <name>`, where it is shorter than the script's.
    room: the folder of stages/ that its module lies in, where it is in one.
    """

    description: str
    keys: tuple[str, ...]
    examples: tuple[str, str, str]
    defaults: tuple[str, ...] = ()
    remembers: Stage | None = None
    one_process: bool = False
    direction: Direction | None = None
    lacks_figure: Callable[[Experiment], str | None] = _always_has_figure
    when_out_of_memory: str = "close what else runs on this machine"
    command: str | None = None
    room: str | None = None


PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        "demo": Program(
            "Search, retrain, evaluate, export and report on scikit-learn's digits.",
            keys=("run", "seed"),
            examples=("run=runs/first", "seed=1", "search.epochs=20 retrain.epochs=20"),
            defaults=("experiment=demo",),
            one_process=True,
            when_out_of_memory="lower search.batch_size or retrain.batch_size",
        ),
        "search": Program(
            "Search a cell for accuracy, robustness and size (bi-level, MGDA).",
            keys=("run", "seed", "search"),
            examples=(
                "experiment=demo run=runs/mine",
                "experiment=demo space=s2 objectives=robust",
                "-m experiment=demo seed=0,1,2 run=runs/seeds",
            ),
            remembers="search",
            direction="maximize",
            lacks_figure=_lacks_choice,
            when_out_of_memory="lower search.batch_size or search.channels, or set search.recompute=true",
        ),
        "retrain": Program(
            "Train the network of a searched or published cell from scratch.",
            keys=("run", "genotype", "seed", "retrain"),
            examples=(
                "run=runs/mine",
                "run=runs/mine retrain.epochs=100 recipe=trades",
                "experiment=demo run=runs/pdarts genotype=PDARTS retrain.parameters=31e3",
            ),
            remembers="retrain",
            direction="maximize",
            when_out_of_memory="lower retrain.batch_size or retrain.channels",
        ),
        "evaluate": Program(
            "Accuracy of a network, clean and under attack, with 95 % intervals.",
            keys=("run", "seed", "evaluate"),
            examples=(
                "run=runs/mine",
                "run=runs/mine evaluate.attacks=[pgd-20,autoattack]",
                "run=runs/mine evaluate.sweep=[2/255,4/255,8/255]",
            ),
            remembers="evaluate",
            when_out_of_memory="lower evaluate.batch_size",
        ),
        "export": Program(
            "Export the cell and the trained network in the forms that other programs read.",
            keys=("run", "genotype", "export"),
            examples=(
                "run=runs/mine",
                "run=runs/mine export.formats=[darts,onnx]",
                "run=runs/cell genotype=PDARTS export.formats=[json,svg]",
            ),
            remembers="export",
            one_process=True,
        ),
        "push": Program(
            "Write the trained network as a hub of models keeps it, and upload it where a repository is named.",
            keys=("run", "push"),
            examples=("run=runs/mine", "run=runs/mine push.folder=mine", "run=runs/mine push.repository=me/mine"),
            one_process=True,
            room="sharing",
        ),
        "report": Program(
            "Write report.html, self-contained, and its figures as PNG.",
            keys=("run", "compare"),
            examples=("run=runs/mine", "run=runs/mine compare=[runs/other]", "run=runs/seeds"),
            one_process=True,
        ),
        "compare": Program(
            "Retrain searched, random and published cells and a ResNet by one recipe, and compare them.",
            keys=("run", "seed", "comparison"),
            examples=(
                "experiment=comparison",
                "experiment=comparison comparison.processes=2",
                "experiment=comparison_cifar10 data.path=cifar10",
            ),
            one_process=True,
            when_out_of_memory="lower search.batch_size or retrain.batch_size",
        ),
        "pareto": Program(
            "Walk budgets or preferences from one trained supernet, and write the front with its hypervolume.",
            keys=("run", "seed", "pareto"),
            examples=(
                "experiment=pareto_demo run=runs/front",
                "experiment=pareto_demo pareto.epochs=3",
                "experiment=pareto_demo search.epochs=20 run=runs/long",
            ),
            remembers="pareto",
            one_process=True,
            when_out_of_memory="lower search.batch_size or search.channels, or set search.recompute=true",
        ),
        "tabulate": Program(
            "Train and attack many cells of a space, as one table that searches can be judged by.",
            keys=("run", "seed", "tabulate"),
            examples=(
                "experiment=table_nasbench201 run=runs/table",
                "-m experiment=table_nasbench201 tabulate.shards=4 tabulate.shard=0,1,2,3 run=runs/shards",
                "run=runs/whole tabulate.merge=[runs/shard0,runs/shard1]",
            ),
            one_process=True,
            when_out_of_memory="lower tabulate.processes or evaluate.batch_size",
        ),
        "study": Program(
            "Let searchers, supernets and judges choose cells of a table, at equal cost and with many seeds.",
            keys=("run", "seed", "study"),
            examples=(
                "experiment=study_nasbench201 study.table=runs/table",
                "experiment=study_nasbench201 study.table=runs/table study.seeds=50 study.supernets=[]",
                "experiment=study_nasbench201 study.table=runs/table '+study.searches.slow=[\"search.epochs=40\"]'",
            ),
            one_process=True,
            when_out_of_memory="lower study.processes or search.batch_size",
        ),
        "meta_train": Program(
            "Train a learned optimizer, or a population that trains itself, on families of small tasks.",
            keys=("run", "seed", "meta"),
            examples=(
                "experiment=meta_demo run=runs/meta",
                "experiment=meta_mlp run=runs/mlp",
                "experiment=meta_population run=runs/population",
            ),
            remembers="meta_train",
            one_process=True,
            direction="minimize",
            when_out_of_memory="lower meta.processes, meta.pairs or meta.last_length",
            room="optimizers",
        ),
        "analyse_optimizer": Program(
            "Take an optimizer apart, learned or not: momentum, clipping, schedule and adaptation.",
            keys=("run", "seed", "analyse"),
            examples=(
                "run=runs/analysis analyse.optimizer=mlp",
                "run=runs/adam analyse.optimizer=Adam 'analyse.arguments={lr: 0.1}'",
                "run=runs/mine analyse.optimizer=optimizers.mine:Mine",
            ),
            defaults=("run=runs/analysis",),
            one_process=True,
            command="analyse-optimizer",
            room="optimizers",
        ),
        "continue_spectrum": Program(
            "Continue a Green's function from the imaginary axis to its spectrum, with a band and a page.",
            keys=("run", "green", "spectrum"),
            examples=(
                "green.path=examples/green.txt green.kernel=fermionic_matsubara green.beta=20 spectrum.omega_max=8",
                "green.path=chi.npz green.kernel=time_bosonic green.beta=10 spectrum.omega_max=6 spectrum.n_points=401",
                "green.path=sigma.h5 green.group=imp green.kernel=freq_fermionic green.beta=40 green.self_energy=true "
                "spectrum.omega_max=10 spectrum.grid=centred",
            ),
            defaults=("run=runs/spectrum",),
            one_process=True,
            command="continue",
            room="continuation",
        ),
        "train_continuation": Program(
            "Train a network that continues Green's functions, on simulated spectra.",
            keys=("run", "seed", "continuation_training"),
            examples=(
                "experiment=continuation",
                "experiment=continuation run=runs/short continuation_training.steps=500",
                "experiment=continuation run=runs/wide continuation_training.channels=32",
            ),
            remembers="train_continuation",
            one_process=True,
            direction="minimize",
            when_out_of_memory="lower continuation_training.batch_size or continuation_training.channels",
            room="continuation",
        ),
        "cells": Program(
            "Published cells and their sizes.",
            keys=("genotype", "retrain"),
            examples=("", "genotype=DARTS_V2", "retrain.channels=16 retrain.layers=8"),
            one_process=True,
        ),
    }
)


def main_of(name: str) -> Callable[[Experiment], float | None]:
    """Import what a program does, and return it. That takes seconds: the stages import PyTorch."""
    room = PROGRAMS[name].room
    module = importlib.import_module(".".join(("e2rnas.cli.stages", *([room] if room else ()), name)))
    return cast("Callable[[Experiment], float | None]", module.main)
