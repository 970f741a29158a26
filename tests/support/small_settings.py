"""Overrides by program with which what the documents show means the same, and takes seconds."""

from tests.support.scripts import FEW_OPERATIONS

SMALL_SEARCH = (
    FEW_OPERATIONS,
    "space.nodes=2",
    "attack.steps=1",
    "search.channels=2",
    "search.derived_channels=4",
    "search.epochs=1",
    "search.diagnostics.iterations=0",
    "retrain.channels=4",
    "retrain.epochs=1",
    "retrain.select_every=1",
    "retrain.attack.steps=1",
    "data.limit=80",
    "data.test_limit=40",
    "evaluate.images=null",
    "search.batch_size=20",
    "retrain.batch_size=24",
)

TABLE = (
    "space.nodes=2",
    "data.limit=120",
    "data.test_limit=40",
    "retrain.layers=3",
    "retrain.epochs=1",
    "retrain.batch_size=32",
)

SMALLER = {
    "search": (
        FEW_OPERATIONS,
        "space.nodes=2",
        "attack.steps=1",
        "search.channels=2",
        "search.epochs=1",
        "search.diagnostics.iterations=0",
        "retrain.attack.steps=1",
    ),
    "evaluate": ("evaluate.checks=false", "evaluate.sweep=[]", "evaluate.corruptions=[contrast]"),
    "pareto": (
        *SMALL_SEARCH,
        "pareto.epochs=1",
        "pareto.adapt_epochs=1",
        "pareto.attack.steps=1",
        "pareto.published=[]",
    ),
    "compare": (
        *SMALL_SEARCH,
        "objectives.names=[accuracy,robustness,parameters]",
        "objectives.parameters=[2500,4000]",
        "objectives.macs=[null,null]",
        "search.selection.candidates=1",
        "search.selection.pool=null",
        "search.selection.proposals=supernet",
        "search.warm_up=0",
        "comparison.searches=1",
        "comparison.random=2",
        "comparison.seeds=1",
        "comparison.random_seeds=1",
        "comparison.published=[]",
        "comparison.resnet=null",
        "comparison.processes=1",
        "evaluate.attacks=[fgsm]",
        "pareto.held_back=0.5",
        "pareto.attack.steps=1",
    ),
    "tabulate": (
        *TABLE,
        "tabulate.seeds=2",
        "tabulate.processes=1",
        "evaluate.attacks=[fgsm]",
    ),
    "study": (
        *TABLE,
        "evaluate.attacks=[fgsm]",
        "search.derived_layers=3",
        "study.judges=[macs,gradient_norm]",
    ),
    "meta_train": (
        "meta.families=[quadratics]",
        "meta.tasks=2",
        "meta.horizon=5",
        "meta.first_length=2",
        "meta.last_length=3",
        "meta.pairs=2",
        "meta.streams=2",
        "meta.steps=2",
        "meta.judge_every=1",
        "meta.outer_batches=1",
        "meta.imitate.steps=0",
        "meta.processes=1",
    ),
}


COMMANDS = {
    **SMALLER,
    "search": (
        *SMALLER["search"],
        "search.batch_size=20",
        "data.limit=80",
        "data.test_limit=40",
        "retrain.epochs=1",
        "retrain.select_every=1",
        "retrain.batch_size=24",
        "evaluate.images=null",
        "evaluate.attacks=[fgsm]",
        *SMALLER["evaluate"],
    ),
    "evaluate": ("data.test_limit=40", "evaluate.images=null", "evaluate.attacks=[fgsm,pgd-20]", *SMALLER["evaluate"]),
    "study": ("study.budgets=[1,2]", "study.judges=[macs]", "study.processes=1"),
    "analyse_optimizer": ("analyse.tasks=1", "analyse.steps=60"),
    "retrain": ("retrain.epochs=1", "retrain.select_every=1", "retrain.attack.steps=1", "retrain.batch_size=24"),
}
"""Overrides by program, after those of a command of the documents."""
