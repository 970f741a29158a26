"""Judges that read a table: sizes, and what the first epochs of a training show."""

from __future__ import annotations

import numpy as np

from pipeline.studies.tables.table import Floats, Table

THIRD = 3  # one in so many epochs is looked at


def size(table: Table, quantity: str) -> Floats:
    """Return a size of each cell, [cells, 1]."""
    return np.array([[float(getattr(entry, quantity))] for entry in table])


def training_speed(table: Table) -> Floats:
    """Return the mean accuracy on training images over the first third of the epochs, [cells, trainings].

    Ru et al. (2021) add up training losses; a table holds how many images were right.
    """
    return np.stack([entry.trained[: _third(len(entry.trained))].mean(axis=0) for entry in table])


def early_validation(table: Table) -> Floats:
    """Return the accuracy on attacked validation images after a third of the epochs, [cells, trainings]."""
    return np.stack([entry.robust[_third(len(entry.robust)) - 1] for entry in table])


def one_training(table: Table) -> Floats:
    """Return the accuracy on validation images under the table's attack at the end, [cells, trainings]."""
    return table.accuracies(part="validation")


def _third(epochs: int) -> int:
    return max(1, epochs // THIRD)
