"""The report's figures: values in, a finished PNG out, with its caption and what is to be seen in words."""

from pipeline.evaluation.transfer_figure import transfer_picture
from pipeline.meta_training.population_figures import population_pictures
from pipeline.presentation.style import Picture
from pipeline.report.figures.alphas import alpha_pictures
from pipeline.report.figures.cells import cell_picture
from pipeline.report.figures.collapse import collapse_pictures
from pipeline.report.figures.evaluation import corruption_picture, sweep_picture
from pipeline.report.figures.examples import examples_picture
from pipeline.report.figures.groups import group_pictures
from pipeline.report.figures.results import accuracy_picture, size_picture
from pipeline.report.figures.search import search_pictures
from pipeline.report.figures.training import retrain_pictures
from pipeline.studies.pareto.front_figures import pareto_pictures

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
    "population_pictures",
    "retrain_pictures",
    "search_pictures",
    "size_picture",
    "sweep_picture",
    "transfer_picture",
]
