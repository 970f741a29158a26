"""Made-up cells of a front."""

from pipeline.evaluation.accuracy import Accuracy, wilson_interval
from pipeline.studies.pareto.front import FrontCell


def accuracy(attack, part, images=100):
    right = round(part * images)
    return Accuracy(attack, {}, right, images, part, *wilson_interval(right, images), 1.0)


def cell(clean, robust, parameters, macs, name="000"):
    measured = accuracy("pgd-10", robust)
    asked = {"parameters": [1, 5]}
    return FrontCell(name, asked, parameters, macs, accuracy("clean", clean), measured, measured)
