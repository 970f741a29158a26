"""What is shipped, by name: cells, trained networks with their cards, learned optimizers, and a network of spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2rnas.results import Accuracies
from e2rnas.stored import load_network
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, strongest
from pipeline.evaluation.stored_evaluation import ROBUSTNESS_FILE, protocol_in_words, read_robustness
from pipeline.export.model_card import CARD_FILE
from pipeline.networks.description import NetworkDescription
from pipeline.networks.genotype_reference import nearest_name
from pipeline.networks.network_files import read_description
from pipeline.networks.shipped_cells import shipped_cells
from pipeline.presentation.notebook import TextInNotebook
from pipeline.runs.files import read_text
from search_space import Genotype, Network

if TYPE_CHECKING:
    from analytic_continuation.unrolled.model_files import ContinuationModel
    from learned_optimizers import Theta

NETWORKS = Path(__file__).parent / "networks"
"""A folder a network: what a run folder keeps of it, and its card."""


@dataclass(frozen=True)
class Card(TextInNotebook):
    """Hold what is known of a shipped network: `print` has its card, in Markdown.

    description: its architecture, data and training.  protocol: how it was measured, in words.
    accuracies: what was measured then, clean and under attack.
    """

    text: str
    description: NetworkDescription
    protocol: str
    accuracies: Accuracies

    def __str__(self) -> str:
        return self.text


@cache
def _known() -> dict[str, tuple[Callable[[], str], Callable[[], Any]]]:
    """Name -> what says in a line what it is, and what loads it."""
    from analytic_continuation.unrolled import model_files
    from learned_optimizers import theta

    known: dict[str, tuple[Callable[[], str], Callable[[], Any]]] = {}
    for name, cell in shipped_cells().items():
        known[name] = partial(str, cell.what), partial(getattr, cell, "genotype")
    for folder in sorted(path for path in NETWORKS.iterdir() if path.is_dir()):
        known[folder.name] = partial(_in_a_line, folder), partial(load_network, folder)
    for name in theta.shipped():
        known[name] = partial(str, "learned optimizer"), partial(theta.load_theta, name)
    for name in model_files.shipped():
        what = "network of spectra, for analytic continuation"
        known[name] = partial(str, what), partial(model_files.load_model, name)
    return known


def _in_a_line(folder: Path) -> str:
    """Say what a shipped network is, and what was measured of it."""
    found = _card(folder)
    description, attack = found.description, strongest({folder.name: found.accuracies.attacks})
    clean, attacked = (100 * found.accuracies[name].accuracy for name in (CLEAN, attack))
    return (
        f"network trained on {description.data} ({description.name}): {clean:.1f} % clean, {attacked:.1f} % under "
        f"{attack}; {description.cost()['parameters']:,} parameters"
    )


def _nothing_is(name: str, known: Mapping[str, Any]) -> RunError:
    near = nearest_name(name, known)
    hint = f"did you mean {near}?" if near else f"expected one of {', '.join(known)}"
    return RunError(f"nothing is shipped as {name!r}; {hint}")


def load(name: str) -> Genotype | Network | Theta | ContinuationModel:
    """Return what is shipped under a name: a Genotype, a trained Network, a Theta, or a network of spectra.

    name: one of `shipped`. Nothing is downloaded, and nothing that is loaded runs code. A network is in evaluation mode
    on the CPU, and takes images [N, C, H, W] in [0, 1]; a Theta is for `LearnedOptimizer`. Raises ValueError where
    nothing has the name, with the nearest one.

    >>> load("digits-searched-1").cells.keys() == load("DARTS_V2").cells.keys()
    True
    >>> load("robust-digits-resnet-8").genotype == load("ResNet")
    True
    >>> load("mlp").architecture
    'mlp'
    """
    known = _known()
    if name not in known:
        raise _nothing_is(name, known)
    _, loader = known[name]
    return loader()  # type: ignore[no-any-return]


def card(name: str) -> Card:
    """Return the card of a shipped network: what it was trained on and how, and its accuracies under attack.

    name: of a trained network among `shipped`. Raises ValueError where it is none.

    >>> found = card("robust-digits-resnet-8")
    >>> found.accuracies["autoattack"].images
    360
    """
    folders = {path.name: path for path in NETWORKS.iterdir() if path.is_dir()}
    if name in folders:
        return _card(folders[name])
    if name in _known():
        raise RunError(f"{name!r} is no trained network and has no card; expected one of {', '.join(sorted(folders))}")
    raise _nothing_is(name, folders)


def _card(folder: Path) -> Card:
    description = read_description(folder / "network.json")
    evaluation = read_robustness(folder / ROBUSTNESS_FILE)[0]
    words = protocol_in_words(evaluation.settings, evaluation.attacks[0].images)
    return Card(read_text(folder / CARD_FILE), description, words, Accuracies(evaluation.attacks))


def shipped() -> Mapping[str, str]:
    """Return what each thing is that `load` knows, by name.

    >>> print(shipped()["digits-searched-1"])
    cell found on the digits: 74.5 % under pgd-20, mean of 5 trainings; 23,282 parameters
    """
    return {name: what() for name, (what, _) in _known().items()}
