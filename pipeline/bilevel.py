"""The two steps of a search: weights train on one part of the training set, alphas on the other, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from mgda import MGDA, Balance, balance
from pipeline.data import ImageData, Images, augmentation, split
from pipeline.hypergradient import Evaluated, exact_product, finite_difference_product, first_order, unrolled
from pipeline.objectives import Loss, bounds_of, check_attainable, resource_losses
from pipeline.optimizers import drift, make_weight_optimizer
from pipeline.run import mean_over_processes, seed_stream, stream_seed
from pipeline.settings import Experiment
from pipeline.training import attack_on, clipped_step
from search_space import CostTable, NetworkShape, Supernet
from search_space.cost import QUANTITIES

STAGE = "search"
PRODUCTS = {"exact": exact_product, "finite_difference": finite_difference_product}

Batch = tuple[Tensor, Tensor]


class BilevelSearch:
    """Supernet, optimizers and objectives of one search, and the two kinds of step."""

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        settings = experiment.search
        self.experiment = experiment
        self.fabric = fabric
        self.table = CostTable(experiment.space.build(), derived_shape(experiment, data))
        self.bounds = bounds_of(experiment.objectives)
        check_attainable(self.bounds, self.table)
        self.augment = augmentation(experiment.data, data.image_size)
        weight_images, alpha_images = split(data.train, settings.alpha_split, stream_seed(experiment.seed, "split"))
        self.weight_images = weight_images.to(fabric.device)
        self.alpha_images = alpha_images.to(fabric.device)
        self.steps_per_epoch = len(weight_images) // settings.batch_size
        if not self.steps_per_epoch or len(alpha_images) < settings.batch_size:
            raise ValueError(
                f"search.batch_size={settings.batch_size} is larger than a part of the training set "
                f"({len(weight_images)} images for weights, {len(alpha_images)} for alphas)"
            )
        seed_stream(experiment.seed, STAGE, "weights")
        mean, std = data.statistics()
        self.supernet = Supernet(
            self.table.space,
            channels=settings.channels,
            layers=settings.layers,
            num_classes=data.num_classes,
            in_channels=data.in_channels,
            mean=mean,
            std=std,
        )
        fabric.to_device(self.supernet)
        # depthwise convolutions are faster in it
        self.supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.alphas = self.supernet.alphas
        self.weights = self.supernet.weights()
        self.weight_optimizer = make_weight_optimizer(self.weights, experiment.weight_optimizer)
        self.alpha_optimizer = torch.optim.Adam(
            [self.alphas],
            lr=settings.alpha_learning_rate,
            betas=settings.alpha_betas,
            weight_decay=settings.alpha_weight_decay,
        )
        self.attack = attack_on(self.supernet, experiment.attack)
        self.aggregator = MGDA(normalisation=experiment.objectives.normalisation)
        self.epoch = 0
        self.history: list[Tensor] = []
        self.seconds = 0.0

    def step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """One step of the alphas, then one of the weights; returns the row for metrics.jsonl."""
        row = self.architecture_step(train, valid)
        return row | self.weight_step(train)

    def architecture_step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Adam on the direction that balances the objectives."""
        evaluated = self.evaluate_objectives(train, valid)
        active = [name for name in evaluated if name not in self.bounds or evaluated[name].value > 0]
        gradients = {name: result.gradient.flatten() for name, result in evaluated.items()}
        balanced = balance(gradients, aggregator=self.aggregator, active=active)
        row = self._row(evaluated, balanced)
        self.alphas.grad = balanced.direction.view_as(self.alphas)
        self.alpha_optimizer.step()
        self.alpha_optimizer.zero_grad()
        return row

    def evaluate_objectives(self, train: Batch, valid: Batch) -> dict[str, Evaluated]:
        """Value and gradient in alpha of every objective, of the order that the settings name."""
        images, labels = valid
        image_losses: dict[str, Loss] = {
            "accuracy": lambda: self._cross_entropy(images, labels),
            "robustness": lambda: self._cross_entropy(self._attacked(images, labels), labels),
        }
        losses = {str(name): image_losses[name] for name in self.experiment.objectives.names if name in image_losses}
        if self.experiment.search.order == "first":
            evaluated = first_order(losses, self.alphas, self._reduce, weights=self.weights)
        else:
            evaluated = unrolled(
                losses,
                self.training_loss(train),
                self.weights,
                self.alphas,
                step_size=self.weight_optimizer.param_groups[0]["lr"],
                drift=drift(self.weight_optimizer, self.weights),
                product=PRODUCTS[self.experiment.search.hessian],
                reduce=self._reduce,
            )
        return evaluated | first_order(resource_losses(self.bounds, self.table, self.alphas), self.alphas, list)

    def weight_step(self, train: Batch) -> dict[str, Any]:
        """One step of the weights on clean and attacked images, in the parts that the settings give."""
        loss = self.training_loss(train)()
        slopes = self._reduce(torch.autograd.grad(loss, self.weights))
        norm = clipped_step(self.weight_optimizer, self.weights, slopes, self.experiment.weight_optimizer.clip)
        return {"training_loss": self._reduce([loss.detach()])[0].item(), "weight_gradient_norm": norm}

    def training_loss(self, train: Batch) -> Loss:
        """Cross entropy of the weights; the attacked images are made now, for the present weights, and stay."""
        images, labels = train
        fraction = self.experiment.search.adversarial_fraction
        parts = [(1 - fraction, images)] if fraction < 1 else []
        if fraction > 0:
            parts.append((fraction, self._attacked(images, labels)))
        return lambda: sum(
            (part * self._cross_entropy(inputs, labels) for part, inputs in parts), start=images.new_zeros(())
        )

    def batches(self) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of augmented batches for weights and alphas of the present epoch."""
        size, share = self.experiment.search.batch_size, (self.fabric.global_rank, self.fabric.world_size)

        def draw(images: Images, name: str) -> Iterator[Batch]:
            for again in count():
                seed = stream_seed(self.experiment.seed, STAGE, name, self.epoch, again)
                yield from images.shuffled_batches(size, seed, share)

        alpha_batches = draw(self.alpha_images, "alphas")
        weight_seed = stream_seed(self.experiment.seed, STAGE, "weights", self.epoch)
        for images, labels in self.weight_images.shuffled_batches(size, weight_seed, share):
            alpha_images, alpha_labels = next(alpha_batches)
            yield (self.augment(images), labels), (self.augment(alpha_images), alpha_labels)

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """All that `restore` needs to go on as if nothing had happened."""
        return {
            "settings": settings,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "supernet": self.supernet.state_dict(),
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.supernet.load_state_dict(state["supernet"])
        self.weight_optimizer.load_state_dict(state["weight_optimizer"])
        self.alpha_optimizer.load_state_dict(state["alpha_optimizer"])
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], list(state["history"])

    def derived_cost(self) -> dict[str, int]:
        """Exact size of the network that the present alphas give."""
        exact = self.table.exact(self.supernet.derive())
        return {quantity: int(value) for quantity, value in zip(QUANTITIES, exact.tolist(), strict=True)}

    def _row(self, evaluated: dict[str, Evaluated], balanced: Balance) -> dict[str, Any]:
        return {
            "objectives": {name: result.value for name, result in evaluated.items()},
            "bounds": {name: [bound.lower, bound.upper] for name, bound in self.bounds.items()},
            "gradient_norms": {name: result.gradient.norm().item() for name, result in evaluated.items()},
            "mgda": {
                "weights": balanced.weights,
                "scales": balanced.scales,
                "norm": balanced.norm,
                "residual": balanced.residual,
            },
            "derived": self.derived_cost(),
        }

    def _cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor:
        with self.fabric.autocast():
            return F.cross_entropy(self.supernet(images).float(), labels)

    def _attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        with self.fabric.autocast():
            return self.attack(images, labels)

    def _reduce(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return mean_over_processes(self.fabric, tensors)


def derived_shape(experiment: Experiment, data: ImageData) -> NetworkShape:
    """Shape of the network to be derived, whose size is bounded."""
    return NetworkShape(
        channels=experiment.search.derived_channels,
        layers=experiment.search.derived_layers,
        num_classes=data.num_classes,
        image_size=data.image_size,
        in_channels=data.in_channels,
    )
