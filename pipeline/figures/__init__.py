"""The report's figures: values in, a finished PNG out, with its caption and what is to be seen in words."""

from pipeline.figures.alphas import alpha_pictures
from pipeline.figures.cells import cell_picture
from pipeline.figures.collapse import collapse_pictures
from pipeline.figures.evaluation import corruption_picture, sweep_picture, transfer_picture
from pipeline.figures.examples import examples_picture
from pipeline.figures.groups import group_pictures
from pipeline.figures.pareto import pareto_pictures
from pipeline.figures.results import accuracy_picture, size_picture
from pipeline.figures.search import search_pictures
from pipeline.figures.style import Picture
from pipeline.figures.training import retrain_pictures

__all__ = [
    "Picture",
    "accuracy_picture",
    "alpha_pictures",
    "cell_picture",
    "collapse_pictures",
    "corruption_picture",
    "examples_picture",
    "group_pictures",
    "pareto_pictures",
    "retrain_pictures",
    "search_pictures",
    "size_picture",
    "sweep_picture",
    "transfer_picture",
]
