"""The front door: the Python API of the whole method. The command line is `e2rnas.cli`, and makes the same run folders.

import e2rnas

run = e2rnas.search(
    "runs/mine",
    preset="demo",
    data=e2rnas.images(train_x, train_y, test_x, test_y),  # uint8 [N, H, W(, 3)] and classes [N]
    objectives={"parameters": (8e3, 11e3)},
)
print(run.genotype, run.cost, run.history[-1]["objectives"])
run.retrain(epochs=10)
print(run.evaluate(["pgd-20", "autoattack"], eps=0.1))
run.export("onnx")
"""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from e2rnas.arrays import GivenImages, images
    from e2rnas.evaluation import evaluate
    from e2rnas.results import Accuracies, Comparison, ExportedFiles, Study
    from e2rnas.run import Run, open_run, retrain, search
    from e2rnas.sharing import PushedNetwork, from_pretrained, push_to_hub
    from e2rnas.stored import load_network, published_cell, published_cells
    from e2rnas.studies import compare, meta_train, pareto, study, tabulate
    from e2rnas.zoo import Card, card, load, shipped
    from pipeline.studies.tables.table import load_table
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "Accuracies",
    "Card",
    "Comparison",
    "ExportedFiles",
    "GivenImages",
    "PushedNetwork",
    "Run",
    "Study",
    "card",
    "compare",
    "evaluate",
    "from_pretrained",
    "images",
    "load",
    "load_network",
    "load_table",
    "meta_train",
    "open_run",
    "pareto",
    "published_cell",
    "published_cells",
    "push_to_hub",
    "retrain",
    "search",
    "shipped",
    "study",
    "tabulate",
]


def __dir__() -> list[str]:
    return sorted(__all__)
