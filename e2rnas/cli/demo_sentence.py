"""What the demo's three networks allow to be said, in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from e2rnas.stages import read_search
from pipeline.evaluation.accuracy import Accuracy, interval_in_words, strongest
from pipeline.evaluation.stored_evaluation import ROBUSTNESS_FILE, Evaluation, read_robustness
from pipeline.presentation.words import magnitude


def in_a_sentence(searched: Path, others: Mapping[str, Path]) -> str:
    """Say whether the intervals tell the searched cell from the others, and what it costs beside them.

    searched, others: run folders that were evaluated, the others by name.
    """
    own = _last(searched)
    rivals = {name: _last(folder) for name, folder in others.items()}
    return " ".join([*_comparisons(own, rivals), _costs(own, rivals)])


def how_decided(searched: Path) -> str:
    """Say how far the alphas had decided when the search ended; nothing where search.json does not tell."""
    signs = read_search(searched).diagnostics
    if signs is None or signs.entropy is None:
        return ""
    return (
        f"When the search ended, the operations of an edge had {100 * signs.entropy:.0f} % of the entropy of an "
        "undecided one (0 %: one operation alone)."
    )


def _last(folder: Path) -> Evaluation:
    return read_robustness(folder / ROBUSTNESS_FILE)[0]


def _comparisons(own: Evaluation, rivals: Mapping[str, Evaluation]) -> Iterator[str]:
    attack = strongest({"searched": own.attacks} | {name: rival.attacks for name, rival in rivals.items()})
    found = _row(own, attack)
    yield f"Under {attack} the searched cell's 95 % interval is {interval_in_words(found)} %."
    for name, rival in rivals.items():
        row = _row(rival, attack)
        verdict = (
            f"is more robust than {name}"
            if found.low > row.high
            else f"is less robust than {name}"
            if found.high < row.low
            else f"cannot be told from {name} by {row.images} images and one training each"
        )
        yield f"It {verdict} ({interval_in_words(row)} %)."


def _row(evaluation: Evaluation, attack: str) -> Accuracy:
    return next(row for row in evaluation.attacks if row.attack == attack)


def _costs(own: Evaluation, rivals: Mapping[str, Evaluation]) -> str:
    if own.cost is None:
        return "Its size could not be counted."
    sizes = {"parameters": "parameters", "conv_linear_macs": "MACs"}
    figures = " and ".join(f"{magnitude(own.cost[key])} {word}" for key, word in sizes.items())
    beside = ", ".join(
        f"{own.cost['parameters'] / rival.cost['parameters']:.2f} and "
        f"{own.cost['conv_linear_macs'] / rival.cost['conv_linear_macs']:.2f} times those of {name}"
        for name, rival in rivals.items()
        if rival.cost is not None
    )
    return f"It has {figures}, {beside}." if beside else f"It has {figures}."
