"""The model card: what a trained network is, how it was trained and measured, and what it is not for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.evaluation.accuracy import Accuracy, interval_in_words
from pipeline.evaluation.stored_evaluation import ROBUSTNESS_FILE, Evaluation, protocol_in_words, read_robustness
from pipeline.networks.description import NetworkDescription, TrainedNetwork, genotype_from_plain
from pipeline.presentation.tables import markdown_table
from pipeline.presentation.words import percent, printable, shown
from pipeline.runs.metrics import flattened
from search_space import Cell

CARD_FILE = "model_card.md"

LIMITS = """\
It is for research on robust architectures, and for images like those it was trained on: {channels} of {size}x{size}
pixels. Robust accuracy holds for the attacks, radii and images of the table alone; another attack can do more harm, and
images of another kind can be classified with confidence and wrongly. It is not for decisions about people, nor where an
attacker gains by deceiving it."""

LOADING = """\
`examples/load_exported.py` rebuilds a network of two kinds of cells from `network.safetensors` alone, with torch and
safetensors, and shows every operation. Images are [N, {channels}, {size}, {size}], float in [0, 1]: normalisation is
the first layer. `network.onnx` (input `images`, output `logits`, any N) runs in onnxruntime. `network.pt2` is read by
`torch.export.load`, which may execute what a file holds: load none from a source that you do not trust."""

LICENCE = """\
The code that made it is under the MIT licence. The weights are those of whoever trained them, under the terms of the
data set."""


@dataclass(frozen=True)
class Evaluated:
    """What robustness.json says of a network: a protocol each, the one last evaluated first.

    of_another: it also holds figures of other weights than these, or of unknown ones, which are not given here.
    """

    protocols: Sequence[Evaluation] = ()
    of_another: bool = False


def evaluated_of(folder: Path, trained: TrainedNetwork) -> Evaluated:
    """Read what was measured on these weights in a run folder, which can also hold figures of others."""
    found, digest = read_robustness(folder / ROBUSTNESS_FILE), trained.state_sha256
    own = [each for each in found if each.is_of(trained.description, digest)]
    return Evaluated(own, of_another=len(own) < len(found))


def model_card(
    description: NetworkDescription,
    evaluated: Evaluated,
    state_sha256: str,
    *,
    title: str | None = None,
    sections: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write the card in Markdown.

    state_sha256: digest of the weights that it is given away with.  title: the network's name, where None.
    sections: by their heading, in Markdown; they take the place of sections of the same heading, or follow the others.
    """
    channels = {1: "1 channel", 3: "3 channels"}.get(description.in_channels, f"{description.in_channels} channels")
    found = {
        "Architecture": _architecture(description),
        "Size": _sizes(description),
        "Data": _data(description),
        "Training": _training(description, state_sha256),
        "Robustness": _robustness(evaluated),
        "How to load it": LOADING.format(channels=description.in_channels, size=description.image_size),
        "Intended use and limits": LIMITS.format(channels=channels, size=description.image_size),
        "Licence": LICENCE,
    }
    head = f"---\npipeline_tag: image-classification\n---\n\n# {_text(title or description.name)}\n"
    return head + "".join(f"\n## {heading}\n\n{content}\n" for heading, content in {**found, **sections}.items())


def _architecture(description: NetworkDescription) -> str:
    genotype = genotype_from_plain(description.genotype)
    cells = "\n".join(f"- {name} cell: {_in_words(cell)}" for name, cell in genotype.cells.items())
    inputs = "States 0 and 1 are the outputs of the two cells" if genotype.reduction else "State 0 is that of the cell"
    return (
        f"{description.layers} cells, {description.channels} channels in the first. {inputs} before, and each "
        f"node is the sum of its terms.\n\n{cells}"
    )


def _in_words(cell: Cell) -> str:
    nodes = (
        f"{node} = " + " + ".join(f"{edge.operation}({edge.source})" for edge in edges)
        for node, edges in enumerate(cell.nodes, start=cell.inputs)
    )
    return f"`{'; '.join(nodes)}; output = {', '.join(map(str, cell.concat))}`"


def _sizes(description: NetworkDescription) -> str:
    cost = description.cost()
    rows = [
        ("parameters", cost["parameters"]),
        ("multiply-accumulates of an image, convolutions and classifier", cost["conv_linear_macs"]),
        ("multiply-accumulates of an image as thop counts, with batch norm and pooling", cost["thop_macs"]),
    ]
    return _table(("size", "number"), [(name, f"{number:,}") for name, number in rows])


def _data(description: NetworkDescription) -> str:
    names = ", ".join(map(_text, description.class_names[:100]))
    more = ", ..." if len(description.class_names) > 100 else ""
    return (
        f"{_text(description.data)}: {len(description.class_names)} classes ({names}{more}), images of "
        f"{description.in_channels} x {description.image_size} x {description.image_size}."
    )


def _training(description: NetworkDescription, state_sha256: str) -> str:
    training = description.training
    settings = {key: value for key, value in training["settings"].items() if key != "genotype"}
    rows = [(key, shown(key, value)) for key, value in flattened(settings).items()]
    found = (
        f"The weights are those of epoch {training['best_epoch']}, with an accuracy of "
        f"{training['held_back_accuracy']:.1%} on a held-back part of the training set."
    )
    if not description.is_training_of(state_sha256):
        found = "The run's network.json is of the training of other weights than these, or does not say of which."
    return f"{found} All settings:\n\n" + _table(("key", "value"), rows)


def _robustness(evaluated: Evaluated) -> str:
    if not evaluated.protocols:
        if not evaluated.of_another:
            return "Not measured: no robustness is claimed."
        return (
            "Not measured: no robustness is claimed. The run's robustness.json is of other weights than these, or does "
            "not say of which; run evaluate.py again, and then export.py."
        )
    explained = "Part of all test images that are classified right and stay right under the attack."
    return "\n\n".join([explained, *map(_protocol, evaluated.protocols)])


def _protocol(evaluation: Evaluation) -> str:
    """Write its settings in words, its accuracies, and the verdict on masking where it was looked for."""
    words = _text(protocol_in_words(evaluation.settings, evaluation.attacks[0].images))
    rows = [
        (row.attack, percent(row.accuracy), interval_in_words(row), f"{row.images:,}", _settings(row) or "none")
        for row in evaluation.attacks
    ]
    table = _table(("attack", "accuracy", "95 % interval, %", "test images", "settings"), rows)
    verdict = evaluation.checks.verdict if evaluation.checks else None
    return f"{words}:\n\n{table}" + (f"\n\nChecks for gradient masking: {_text(verdict)}." if verdict else "")


def _settings(accuracy: Accuracy) -> str:
    return "; ".join(
        ", ".join(_calls(value)) if key == "attacks" else f"{key} {shown(key, value)}"
        for key, value in accuracy.settings.items()
        if key != "name"
    )


def _calls(parts: Any) -> Iterator[str]:
    for part in parts if isinstance(parts, list) else ():
        arguments = part.get("arguments") if isinstance(part, Mapping) else None
        if isinstance(arguments, Mapping):
            yield f"{part['class']}({', '.join(f'{key} {shown(key, value)}' for key, value in arguments.items())})"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(headings, ([_text(value) for value in row] for row in rows))


def _text(value: str) -> str:
    """Write a text on one line, and without what Markdown would obey."""
    spaced = value.replace("\N{NO-BREAK SPACE}", " ")
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in printable(spaced))
