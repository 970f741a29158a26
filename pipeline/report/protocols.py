"""The protocols by which a run was evaluated, in words: one beside another, and what of them is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.stored_evaluation import Evaluation, protocol_in_words
from pipeline.presentation.words import percent, shown
from pipeline.report.findings import measured_in_words
from pipeline.report.measured import Measured
from pipeline.report.run_reader import RunContents
from pipeline.runs.metrics import flattened

IN_WORDS = ("seed", "evaluate.eps", "evaluate.norm", "evaluate.images")  # what `protocol_in_words` says already
UNKNOWN = "of weights that were not recorded"


@dataclass(frozen=True)
class ProtocolRow:
    """One protocol: its settings in words, its accuracies, and in sentences what it measured beside its attacks."""

    label: str
    accuracies: Sequence[Accuracy]
    sentences: Sequence[str]


def protocol_rows(run: RunContents) -> list[ProtocolRow]:
    """Return the protocols of the weights that the run holds, the one last evaluated first."""
    labels = _labels(run.evaluations)
    return [
        ProtocolRow(label, each.attacks, list(measured_in_words(each.attacks, Measured.of(each))))
        for label, each in zip(labels, run.evaluations, strict=True)
    ]


def _labels(evaluations: Sequence[Evaluation]) -> list[str]:
    """Name each protocol in words, with every other setting in which they differ."""
    flat = [flattened(each.settings.key) for each in evaluations]
    keys = dict.fromkeys(key for settings in flat for key in settings if key not in IN_WORDS)
    differing = [key for key in keys if any(settings.get(key) != flat[0].get(key) for settings in flat)]
    labels = []
    for each, settings in zip(evaluations, flat, strict=True):
        more = [f"{key} {shown(key, settings.get(key))}" for key in differing]
        unknown = [UNKNOWN] if each.state_sha256 is None else []
        labels.append(", ".join([protocol_in_words(each.settings, each.attacks[0].images), *more, *unknown]))
    return labels


def protocols_in_words(run: RunContents) -> Iterator[str]:
    """A sentence each, where there are several: by which protocol the run stands beside others, and the other ones."""
    rows = protocol_rows(run)
    if len(rows) > 1:
        yield f"the table has {rows[0].label}."
    for row in rows[1:]:
        figures = ", ".join(f"{result.attack} {percent(result.accuracy)}" for result in row.accuracies)
        yield f"by another protocol, {row.label}: {figures}."


def remarks_on_weights(run: RunContents) -> Iterator[str]:
    """Yield what a reader must know of figures that are of other weights than the run's, or may be: a sentence each."""
    if run.robustness and run.robustness.state_sha256 is None:
        yield (
            "an older version measured these figures and did not record of which weights they are; run evaluate.py to "
            "measure the present ones."
        )
    if run.set_aside:
        found = (
            f"{each.network.name} ({protocol_in_words(each.settings, each.attacks[0].images)})"
            for each in run.set_aside
        )
        advice = "" if run.evaluations else "; run evaluate.py to measure the present ones"
        yield (
            "robustness.json holds figures of other weights than these, which are not shown: "
            f"{'; '.join(dict.fromkeys(found))}{advice}."
        )
