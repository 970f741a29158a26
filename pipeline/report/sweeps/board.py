"""The runs of a folder as a board: its front, and orders among which the page chooses without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.evaluation.accuracy import CLEAN
from pipeline.report.run_reader import Plain
from pipeline.studies.pareto.front import nondominated

SIZES = {"parameters": "parameters", "MACs": "conv_linear_macs"}


def board(rows: Sequence[Plain], attack: str) -> Plain:
    """Return the template's rows, each with its place in every order, and the orders.

    rows: with label, cost (None of what cannot be counted) and accuracies by attack (None of what was not met).
    attack: the strongest, by which the front is found and the board is sorted at first.
    """
    names = [CLEAN, attack] if attack != CLEAN else [CLEAN]
    met = [name for name in (rows[0]["accuracies"] if rows else ()) if name not in names]
    keys = {name: [-_accuracy(row, name) for row in rows] for name in (*reversed(names), *met)}
    keys |= {name: [_size(row, size) for row in rows] for name, size in SIZES.items()}
    orders = {name: sorted(range(len(rows)), key=values.__getitem__) for name, values in keys.items()}
    front = set(on_front(rows, attack))
    return {
        "orders": list(orders),
        "runs": [
            {
                **row,
                "places": [order.index(index) for order in orders.values()],
                "on_front": index in front,
                "accuracies": list(row["accuracies"].values()),
            }
            for index, row in enumerate(rows)
        ],
    }


def on_front(rows: Sequence[Plain], attack: str) -> list[int]:
    """Return the measured rows that no other beats in clean accuracy, that under `attack`, and both sizes together."""
    measured = [index for index, row in enumerate(rows) if row["cost"] and row["accuracies"].get(attack)]
    points = [
        (
            _accuracy(rows[index], CLEAN),
            _accuracy(rows[index], attack),
            *(_size(rows[index], size) for size in SIZES.values()),
        )
        for index in measured
    ]
    return [index for index, is_on in zip(measured, nondominated(points), strict=True) if is_on] if points else []


def _accuracy(row: Plain, attack: str) -> float:
    """Return an accuracy; below all where it was not measured."""
    found = row["accuracies"].get(attack)
    return float(found.accuracy) if found else -1.0


def _size(row: Plain, size: str) -> float:
    """Return a size; above all where it could not be counted."""
    return float(row["cost"][size]) if row["cost"] else math.inf
