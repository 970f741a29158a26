"""The choice among a retraining's epochs: accuracies on images held back, and the weights of the best epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from attacks import CheckedAttack
from pipeline.compute.processes import share_of, sum_over_processes
from pipeline.compute.seeds import seed_stream
from pipeline.data import ImageSet
from pipeline.evaluation.accuracy import classified_right
from pipeline.options.recipes import RECIPES
from pipeline.settings import Experiment
from pipeline.training.recipes import Judged, best, has_overfitted, is_out_of_patience
from pipeline.training.steps import attack_of_settings
from pipeline.training.training_images import STAGE
from search_space import fixed_weights
from search_space.kernels.statistics import own_statistics


class HeldBackJudge:
    """Judges a network on images held back, and keeps the weights of the best judgement.

    network: the one that is judged and kept; what is trained, or the mean of its weights.
    judged: the judgements so far.  best_weights: those of the best one.
    """

    def __init__(self, network: nn.Module, images: ImageSet, experiment: Experiment, fabric: Fabric) -> None:
        settings = experiment.retrain
        self.network = network
        self.judged: list[Judged] = []
        self.best_weights: dict[str, Tensor] = {}
        self._images, self._fabric = images, fabric
        self._seed, self._settings = experiment.seed, settings
        name = RECIPES[settings.recipe].attack_name(settings.attack.name)
        self._attack = None if name is None else attack_of_settings(network, settings.attack, "pgd")
        compares = name is not None and settings.check_overfitting
        self._compared_attack = attack_of_settings(network, settings.attack, name) if compares else None

    @property
    def is_out_of_patience(self) -> bool:
        """Return whether the best judgement is longer ago than the settings wait."""
        return is_out_of_patience(self.judged, self._settings.patience)

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        """Judge an epoch, from 0, where due, and keep the best weights; return what its last row says of it."""
        settings = self._settings
        if (epoch + 1) % settings.select_every and epoch + 1 < settings.epochs:
            return {}
        found = self.judge(epoch)
        self.judged.append(found)
        if best(self.judged) is found:
            self.best_weights = {name: each.detach().clone() for name, each in self.network.state_dict().items()}
        row = {"held_back_accuracy": found.accuracy, "held_back_clean_accuracy": found.clean}
        if found.trained is None:
            return row
        return row | {
            "held_back_trained_accuracy": found.trained,
            "catastrophic_overfitting": has_overfitted(self.judged),
        }

    def judge(self, epoch: int) -> Judged:
        """Measure the accuracies on the held-back images after an epoch, from 0."""
        clean = self._accuracy(None, epoch)
        return Judged(
            epoch=epoch + 1,
            accuracy=clean if self._attack is None else self._accuracy(self._attack, epoch),
            clean=clean,
            trained=None if self._compared_attack is None else self._accuracy(self._compared_attack, epoch),
        )

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        return {"judged": [asdict(each) for each in self.judged], "best_weights": self.best_weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.judged = [Judged(**each) for each in state["judged"]]
        self.best_weights = state["best_weights"]

    def _accuracy(self, attack: CheckedAttack | None, epoch: int) -> float:
        """Measure the accuracy on all held-back images; the same in each process, and with any number of them."""
        network, right = self.network.eval(), torch.zeros((), dtype=torch.int64)
        batches = self._images.shared_batches(self._settings.batch_size, share_of(self._fabric))
        with own_statistics(network), fixed_weights(network):  # shares differ in their number of batches
            for batch, images, labels in batches:
                seed_stream(self._seed, STAGE, "judge", epoch, batch)
                with self._fabric.autocast():
                    inputs = images if attack is None else attack(images, labels)
                    right += classified_right(network, inputs, labels).sum().cpu()
        network.train()
        return int(sum_over_processes(self._fabric, right)) / len(self._images)
