"""The search: weights train on one half of the training set, alphas on the other, step by step in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from mgda import MGDA, Balance, balance
from pipeline.data import ImageData, Images, augmentation, split
from pipeline.hypergradient import Evaluated, exact_product, finite_difference_product, first_order, unrolled
from pipeline.objectives import Loss, bounds_of, check_attainable, resource_losses
from pipeline.optimizers import cosine, drift, make_weight_optimizer, set_learning_rate
from pipeline.progress import progress_bar
from pipeline.run import (
    Checkpoints,
    MetricLog,
    check_same_settings,
    exclusive,
    mean_over_processes,
    read_json,
    seed_stream,
    stream_seed,
    what_training_depends_on,
    write_atomically,
    write_json,
)
from pipeline.settings import Experiment
from pipeline.training import attack_on, clipped_step
from search_space import CostTable, Genotype, NetworkShape, Supernet
from search_space.cost import QUANTITIES
from search_space.draw import save_cell

STAGE = "search"
PRODUCTS = {"exact": exact_product, "finite_difference": finite_difference_product}

Batch = tuple[Tensor, Tensor]


def search(folder: Path, experiment: Experiment, data: ImageData, fabric: Fabric) -> Genotype:
    """Search a cell and write genotype.json, search.json, alphas.safetensors, metrics.jsonl and the cells' pictures.

    A folder with a finished search returns its genotype; one with an unfinished search resumes after the last whole
    epoch and ends, on the CPU, in the same bits as a search that was never stopped. Raises ValueError before any work
    when bounds cannot be met, batches do not fit, or the folder holds a search with other settings.
    """
    settings = search_settings(experiment)
    bilevel = BilevelSearch(experiment, data, fabric)
    with exclusive(folder, STAGE, take=fabric.is_global_zero):
        if (folder / "search.json").exists():
            check_same_settings(read_json(folder / "search.json")["settings"], settings, folder)
            return Genotype.from_json((folder / "genotype.json").read_text(encoding="utf-8"))
        checkpoints = Checkpoints(folder, STAGE, fabric)
        state = checkpoints.load()
        if state is not None:
            check_same_settings(state["settings"], settings, folder)
            bilevel.restore(state)
        _train(bilevel, folder, settings, checkpoints)
        return _finish(bilevel, folder, settings)


def search_settings(experiment: Experiment) -> dict[str, Any]:
    """All that a search's result depends on."""
    return what_training_depends_on(experiment, "space", "objectives", "attack", "search")


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


def _train(bilevel: BilevelSearch, folder: Path, settings: dict[str, Any], checkpoints: Checkpoints) -> None:
    search, fabric = bilevel.experiment.search, bilevel.fabric
    first_step, total = bilevel.epoch * bilevel.steps_per_epoch, search.epochs * bilevel.steps_per_epoch
    with (
        MetricLog(folder, STAGE, first_step=first_step, write=fabric.is_global_zero) as log,
        progress_bar("search", total, done=first_step, show=fabric.is_global_zero) as bar,
    ):
        while bilevel.epoch < search.epochs:
            started = time.monotonic()
            first = bilevel.experiment.weight_optimizer.learning_rate
            rate = cosine(bilevel.epoch, search.epochs, first, first * search.final_rate)
            set_learning_rate(bilevel.weight_optimizer, rate)
            seed_stream(bilevel.experiment.seed, STAGE, bilevel.epoch, fabric.global_rank)
            for index, (train, valid) in enumerate(bilevel.batches()):
                step = bilevel.epoch * bilevel.steps_per_epoch + index
                row = _checked_step(bilevel, step, train, valid)
                log.write(step, {"epoch": bilevel.epoch, "learning_rate": rate, **row})
                bar.advance(_figures(row))
            bilevel.epoch += 1
            bilevel.history.append(bilevel.alphas.detach().cpu().clone())
            bilevel.seconds += time.monotonic() - started
            checkpoints.save(bilevel.epoch, bilevel.state(settings))
            if fabric.is_global_zero:
                _write_alphas(folder, bilevel.history)


def _checked_step(bilevel: BilevelSearch, step: int, train: Batch, valid: Batch) -> dict[str, Any]:
    try:
        return bilevel.step(train, valid)
    except FloatingPointError as error:
        raise FloatingPointError(f"search step {step}, epoch {bilevel.epoch}: {error}") from error


def _figures(row: dict[str, Any]) -> str:
    shown = {name: value for name, value in row["objectives"].items() if value > 0}  # a bound that is met is 0
    objectives = " ".join(f"{name[:3]} {value:.2f}" for name, value in shown.items())
    derived = row["derived"]
    return f"{objectives} | {derived['parameters'] / 1e6:.3f}M {derived['conv_linear_macs'] / 1e6:.1f}M MACs"


def _write_alphas(folder: Path, history: Sequence[Tensor]) -> None:
    write_atomically(
        folder / "alphas.safetensors", save({f"epoch_{epoch:05d}": alphas for epoch, alphas in enumerate(history, 1)})
    )


def _finish(bilevel: BilevelSearch, folder: Path, settings: dict[str, Any]) -> Genotype:
    genotype, cost = bilevel.supernet.derive(), bilevel.derived_cost()
    if not bilevel.fabric.is_global_zero:
        return genotype
    _write_alphas(folder, bilevel.history)
    for name, cell in (("normal", genotype.normal), ("reduction", genotype.reduction)):
        save_cell(cell, folder / f"{name}.svg")
    write_atomically(folder / "genotype.json", genotype.to_json())
    bounds = {
        name: {"lower": bound.lower, "upper": bound.upper, "value": cost[bound.quantity]}
        | {"violation": bound.violation(torch.tensor(float(cost[bound.quantity]), dtype=torch.float64)).item()}
        for name, bound in bilevel.bounds.items()
    }
    # last: this file says that the search is finished
    write_json(
        folder / "search.json",
        {"settings": settings, "derived_cost": cost, "bounds": bounds, "seconds": round(bilevel.seconds, 1)},
    )
    return genotype
