"""Write docs/reference/options.md from the registries: python docs/write_options.py."""

from __future__ import annotations

from pathlib import Path

from attacks.registry import EVALUATION_ATTACKS, TRAINING_ATTACKS
from learned_optimizers import ARCHITECTURES
from learned_optimizers.tasks import TASK_FAMILIES
from mgda.registry import BALANCES
from on_demand import table
from pipeline.options.guards import GUARD_RULES
from pipeline.options.judges import JUDGES
from pipeline.options.loggers import LOGGERS
from pipeline.options.objectives import OBJECTIVES
from pipeline.options.recipes import RECIPES
from pipeline.options.searchers import SEARCHERS
from search_space.cells.families import FAMILIES
from search_space.supernet.relaxation_choices import OPERATION_WEIGHTS

PAGE = Path(__file__).parent / "reference" / "options.md"
HEAD = """\
# Options

What a setting may name, by its key. The tables are those of the registries, each beside what it registers: an entry
there is all that an option takes ([How to add](../architecture.md#how-to-add)). `--help=all` shows the same. Written by
`python docs/write_options.py`.
"""
REGISTRIES = {
    "Objectives: `objectives.names`": OBJECTIVES,
    "Balances: `objectives.balance.name`, or `balance=`": BALANCES,
    "Attacks in search and training: `attack.name` and `retrain.attack.name`, or `attack=`": TRAINING_ATTACKS,
    "Attacks in evaluation: `evaluate.attacks`": EVALUATION_ATTACKS,
    "Recipes: `retrain.recipe`, or `recipe=`": RECIPES,
    "Weights of operations: `search.relaxation.operations`, or `relaxation=`": OPERATION_WEIGHTS,
    "Loggers: `logger.name`, or `logger=`": LOGGERS,
    "Rules of a guard: `search.guard.rule`": GUARD_RULES,
    "Families of search spaces: `space.family`": FAMILIES,
    "Learned optimizers: `meta.architecture`": ARCHITECTURES,
    "Tasks of meta-training: `meta.families`": TASK_FAMILIES,
    "Searchers of a table: `study.searchers`": SEARCHERS,
    "Judges of cells: `study.judges`": JUDGES,
}


def text() -> str:
    """Return the page."""
    return HEAD + "".join(f"\n## {heading}\n\n{table(options)}" for heading, options in REGISTRIES.items())


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
