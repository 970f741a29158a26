"""How attacks transfer: images attacked on one network, tried on every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from attacks import CheckedAttack
from pipeline.compute.processes import done_by_all, share_of, sum_over_processes
from pipeline.compute.seeds import seed_stream
from pipeline.data import ImageData, ImageSet
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CaseSettings, accuracy_over_draws, count_in_draws, right_in_draws
from pipeline.evaluation.evaluate import classes_of, tested
from pipeline.evaluation.evaluation_plan import attack_on
from pipeline.evaluation.probing import Probed, probe
from pipeline.evaluation.stored_evaluation import Protocol, read_before
from pipeline.evaluation.stored_transfer import (
    TRANSFER_FILE,
    Transfer,
    TransferHeader,
    TransferModel,
    TransferredShare,
    TransferShare,
    read_transfer,
    write_transfer,
)
from pipeline.evaluation.transfer_figure import transfer_picture
from pipeline.networks.description import TrainedNetwork
from pipeline.networks.network_files import check_fits, load_network
from pipeline.networks.user_module import ForeignNetwork, load_foreign
from pipeline.runs.files import write_atomically
from pipeline.runs.progress import progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.settings import Experiment

STAGE = "transfer"

Counts = Mapping[tuple[str | None, str], Tensor]
"""Images right, int64 [draws, classes], by the network they were made on (None: clean) and the one tried."""

Networks = Mapping[str, TrainedNetwork | ForeignNetwork]
"""By name."""


def load_models(references: Sequence[str], data: ImageData) -> Networks:
    """Run folders and factories by name: of the network where names differ, else as they were given.

    Raises RunError where one cannot be had or does not fit the data.
    """
    found = [_load(reference, data) for reference in references]
    names = [network.description.name for network in found]
    return dict(zip(names if len(set(names)) == len(names) else references, found, strict=True))


def transfer(folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric, networks: Networks) -> Transfer:
    """Attack every image on each network, try it on all, and write transfer.json and figures/transfer.png.

    An image is right on a network when it is classified right clean and after the attack, so that an attack on a
    network itself leaves its robust accuracy. What transfer.json holds of the same weights by the same settings is not
    measured again; that of others stays beside it. Raises RunError before any work when there are too few test images.
    """
    path, replace = folder / TRANSFER_FILE, experiment.evaluate.replace
    images = tested(data, experiment.evaluate.images).to(fabric.device)
    probed = {
        name: probe(fabric.to_device(network.network), images, name=name, settings=experiment.evaluate, fabric=fabric)
        for name, network in networks.items()
    }
    attacks = {name: _attack(network, experiment, data.num_classes) for name, network in probed.items()}
    header = _header(experiment, data, images, networks, next(iter(attacks.values())))
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        before = read_before(path, read_transfer, replace=replace, fabric=fabric)
        found = next((each for each in before if each.identity == header.identity), None)
        others = [each for each in before if each is not found]
        if found is None:
            counts = _counts(probed, attacks, images, experiment, data.num_classes, fabric)
            found = _transfer(header, counts, len(images))
        if fabric.is_global_zero:
            write_transfer(path, (found, *others))
            write_atomically(folder / "figures" / "transfer.png", transfer_picture(found).png)
    return found


def _header(
    experiment: Experiment, data: ImageData, images: ImageSet, networks: Networks, attack: CheckedAttack
) -> TransferHeader:
    models = tuple(
        TransferModel(name=name, network=network.description, state_sha256=network.state_sha256)
        for name, network in networks.items()
    )
    return TransferHeader(
        settings=Protocol.of(experiment),
        models=models,
        classes=classes_of(data, images),
        attack=cast("CaseSettings", attack.settings),
    )


def _transfer(header: TransferHeader, counts: Counts, images: int) -> Transfer:
    names = [model.name for model in header.models]
    return Transfer(
        **dict(header),
        rows=tuple(
            TransferredShare(made_on=made_on, tried_on=tried_on, **_figures(counts[made_on, tried_on], images))
            for made_on in names
            for tried_on in names
        ),
        clean=tuple(TransferShare(tried_on=name, **_figures(counts[None, name], images)) for name in names),
    )


def _load(reference: str, data: ImageData) -> TrainedNetwork | ForeignNetwork:
    if not Path(reference).is_dir():
        if ":" not in reference:
            raise RunError(f"evaluate.models: {reference} is neither a run folder nor package.module:factory")
        return load_foreign(reference, None, None, data)
    trained = load_network(Path(reference))
    check_fits(trained, data)
    return trained


def _counts(
    networks: Mapping[str, Probed],
    attacks: Mapping[str, CheckedAttack],
    images: ImageSet,
    experiment: Experiment,
    num_classes: int,
    fabric: Fabric,
) -> Counts:
    pairs = [(made_on, tried_on) for made_on in (None, *networks) for tried_on in networks]
    counts = {pair: torch.zeros(networks[pair[1]].draws, num_classes, dtype=torch.int64) for pair in pairs}
    size = experiment.evaluate.batch_size
    batches = -(-len(images) // size)
    with progress_bar(STAGE, len(networks) * batches, show=fabric.is_global_zero) as bar:
        for batch, inputs, labels in images.shared_batches(size, share_of(fabric)):
            seed_stream(experiment.seed, STAGE, batch)  # a network that holds noise draws from the global generators
            with fabric.autocast():
                right = {name: _right(network, inputs, labels) for name, network in networks.items()}
                for made_on, attack in attacks.items():
                    seed_stream(experiment.seed, STAGE, made_on, batch)
                    attacked = attack(inputs, labels)
                    for name, other in networks.items():
                        still = right[name].any(dim=0) & _right(other, attacked, labels)
                        counts[made_on, name] += count_in_draws(labels, still, num_classes)
                    bar.advance(f"made on {made_on}", by=done_by_all(fabric, batch, batches))
            for name in networks:
                counts[None, name] += count_in_draws(labels, right[name], num_classes)
    return {pair: sum_over_processes(fabric, found) for pair, found in counts.items()}


def _right(network: Probed, images: Tensor, labels: Tensor) -> Tensor:
    return right_in_draws(network.network, images, labels, network.draws)


def _attack(network: Probed, experiment: Experiment, num_classes: int) -> CheckedAttack:
    """Make an attack that returns every image changed: those with restarts leave what they cannot break as it was."""
    return attack_on(network, experiment, num_classes, experiment.evaluate.transfer_attack)


def _figures(right: Tensor, images: int) -> dict[str, Any]:
    """right, images, accuracy, low, high, and of a network that draws the draws, from the images right by class."""
    row = accuracy_over_draws("", {}, right, images, 0.0)
    drawn = ("draws", "spread") if row.draws > 1 else ()
    return {name: getattr(row, name) for name in ("right", "images", "accuracy", "low", "high", *drawn)}
