"""In words: what was measured of a run beside its accuracy under each attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import fmean

from pipeline.evaluation.accuracy import Accuracy, strongest
from pipeline.presentation.words import percent
from pipeline.report.measured import Measured
from pipeline.report.run_reader import RunContents


def findings(run: RunContents) -> Iterator[str]:
    """A sentence each, of those that there are: masking, radii, corruptions, the weakest class, the exported graph."""
    yield from measured_in_words(run.accuracies, run.measured)
    if run.onnx:
        difference, labels = run.onnx.largest_logit_difference, run.onnx.labels_that_differ
        yield f"network.onnx: logits within {difference:.1e} of PyTorch's, {labels} labels differ."


def measured_in_words(accuracies: Sequence[Accuracy], measured: Measured) -> Iterator[str]:
    """Yield what one protocol measured beside its attacks: a sentence each."""
    if measured.verdict:
        yield f"{measured.verdict.verdict}."
    for attack, rows in groupby(measured.sweep, key=lambda row: row.attack):
        yield f"under {attack} within {_radii(list(rows))}."
    if measured.corruptions:
        yield f"corrupted, mean over severities: {_corruptions(measured.corruptions)}."
    if weakest := _weakest_class(accuracies, measured):
        yield weakest


def _radii(rows: Sequence[Accuracy]) -> str:
    radii = ", ".join(f"{row.settings['eps']:.3g} {percent(row.accuracy)}" for row in rows)
    return f"{rows[0].settings['norm']} radius {radii}"


def _corruptions(rows: Sequence[Accuracy]) -> str:
    by_name = groupby(rows, key=lambda row: str(row.settings["corruption"]))
    means = [(name.replace("_", " "), fmean(row.accuracy for row in group)) for name, group in by_name]
    return ", ".join(f"{name} {percent(mean)}" for name, mean in means)


def _weakest_class(accuracies: Sequence[Accuracy], measured: Measured) -> str | None:
    """Under the attack that leaves least."""
    attack = strongest({"": accuracies})
    row = next((row for row in accuracies if row.attack == attack), None)
    images = measured.class_images
    if row is None or len(row.right_by_class) != len(images) or not any(images):
        return None
    shares = {c: row.share_of_class(c, count) for c, count in enumerate(images) if count}
    weakest = min(shares, key=lambda index: shares[index])
    return f"weakest class under {attack}: {measured.class_names[weakest]}, {percent(shares[weakest])}."
