"""Made-up cells of a comparison."""

import numpy as np

from pipeline.studies.comparison.comparison_statistics import (
    CellResult,
)


def cell(kind, robust, *, parameters=100, macs=1000, judgements=()):
    robust = tuple(np.atleast_1d(robust))
    accuracies = {"clean": robust, "pgd-20": robust}
    return CellResult(f"{kind}-{robust[0]}", kind, parameters, macs, accuracies, tuple(judgements))
