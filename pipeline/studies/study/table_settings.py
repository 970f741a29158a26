"""The experiment by which a table was made: what a study trains has to be trained by the same settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pipeline.errors import RunError
from pipeline.options.judges import JUDGES
from pipeline.options.searchers import SEARCHERS
from pipeline.runs.metrics import flattened
from pipeline.runs.same_settings import differences
from pipeline.search.objectives import bounds_of
from pipeline.settings import HOW_IMAGES_ARE_READ, Experiment, StudySettings
from pipeline.studies.tables.distinct_cells import distinct_cells
from pipeline.studies.tables.rows import Header
from pipeline.studies.tables.table import Interval, Table
from search_space import canonical_form

GROUPS = ("data", "space", "weight_optimizer", "retrain", "evaluate")
OF_THE_MACHINE = ("data.path", *(f"data.{key}" for key in HOW_IMAGES_ARE_READ))
TABULATED = ("parameters", "conv_linear_macs")


def experiment_of_table(experiment: Experiment, header: Header, name: str) -> Experiment:
    """Return the experiment with the seed of a table, once its other settings are found to be those of the table.

    name: of the table, for errors.  Where images lie may differ. Raises ValueError that lists the settings that do.
    """
    made = _experiment(header.settings, name)
    before, now = (_training_settings(each, header.settings) for each in (made, experiment))
    if listed := differences(before, now):
        raise ValueError(f"study.table={name} was made with other settings ({listed}); give these, or another table")
    tabulate = experiment.tabulate.model_copy(update={"seeds": made.tabulate.seeds, "merge": ()})
    return experiment.model_copy(update={"seed": made.seed, "tabulate": tabulate})


def _experiment(settings: Mapping[str, Any], name: str) -> Experiment:
    """Return the settings of a header as an experiment; what they do not name, as of an older version, by default."""
    named = {key: value for key, value in settings.items() if key in (*GROUPS, "seed", "tabulate")}
    try:
        return Experiment.model_validate(named)
    except ValueError as error:
        raise RunError(f"study.table={name} is of settings that are none: {str(error).splitlines()[0]}") from None


def _training_settings(experiment: Experiment, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return by dotted key what the rows of a table depend on; of evaluation, what the header names."""
    content = experiment.model_dump(mode="json", include=set(GROUPS))
    content["evaluate"] = {key: content["evaluate"][key] for key in named.get("evaluate", {})}
    return {key: value for key, value in flattened(content).items() if key not in OF_THE_MACHINE}


def check_answers(table: Table, settings: StudySettings, searches: Collection[str]) -> None:
    """Raise ValueError that names all that the study asks of a table that others published, and that it lacks."""
    if table.header is not None:
        return
    asked = [f"study.searchers {name}" for name in settings.searchers if SEARCHERS[name].reads_curves]
    asked += [
        f"study.judges {name}"
        for name in settings.judges
        if JUDGES[name].reads_curves or JUDGES[name].reads == "network"
    ]
    asked += ["study.leave_out"] * bool(settings.leave_out)
    asked += ["study.supernets"] * bool(searches) + ["study.equal=seconds"] * (settings.equal == "seconds")
    if asked:
        raise ValueError(
            f"study.table={settings.table}: others published neither curves nor seconds nor how they trained; do "
            f"without {', '.join(asked)} (experiment=study_published does)"
        )


def cells_left_out(table: Table, settings: StudySettings) -> frozenset[str]:
    """Return the canonical forms of the cells that tabulate trained first, study.leave_out of them."""
    if not settings.leave_out:
        return frozenset()
    made = _experiment(table.own_header.settings, settings.table)
    return frozenset(map(canonical_form, distinct_cells(made.space.build(), settings.leave_out, made.seed)))


def bounds_in_table(experiment: Experiment) -> dict[str, Interval]:
    """Return the bounds of the objectives' sizes, by the quantities of a table.

    Raises ValueError for a size that no table has, and where the bounds are those of another network.
    """
    bounds = bounds_of(experiment.objectives)
    within = {
        bound.quantity: (bound.lower, bound.upper)
        for bound in bounds.values()
        if (bound.lower, bound.upper) != (None, None)
    }
    if unknown := [quantity for quantity in within if quantity not in TABULATED]:
        raise ValueError(
            f"objectives.macs_convention={unknown[0]}: tables hold conv_linear_macs; use it, or objectives=robust"
        )
    search, recipe = experiment.search, experiment.retrain
    if within and (search.derived_channels, search.derived_layers) != (recipe.channels, recipe.layers):
        raise ValueError(
            f"search.derived_channels={search.derived_channels} and search.derived_layers={search.derived_layers}, but "
            f"the table's networks have {recipe.channels} and {recipe.layers}: bounds need them the same"
        )
    return within
