"""The two steps of a search: weights train on one part of the training set, alphas on the other, in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from mgda import Balance, balance
from pipeline.compute.processes import mean_over_processes, random_state, restore_random_state, synchronise
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import Batch, ImageData, as_float
from pipeline.search.balancing import make_aggregator
from pipeline.search.carried_attack import CarriedAttack
from pipeline.search.collapse.guard import Guard
from pipeline.search.collapse.signs import Eigenvalue, largest_eigenvalue, signs_of_collapse
from pipeline.search.hypergradient import (
    Evaluated,
    exact_product,
    finite_difference_product,
    first_order,
    frozen,
    implicit,
    unrolled,
)
from pipeline.search.linear_solvers import make_solver
from pipeline.search.objectives import Loss, bounds_of, check_attainable, derived_shape, resource_losses
from pipeline.search.search_images import STAGE, SearchImages
from pipeline.settings import Experiment
from pipeline.training.optimizers import drift, make_weight_optimizer, show_validation
from pipeline.training.steps import at_least_float32, attack_on, clipped_step, continued_attack_on
from search_space import CostTable, Genotype, Supernet
from search_space.cost.network_cost import QUANTITIES
from search_space.kernels.statistics import own_statistics
from search_space.supernet.relaxation import Chance, Moment, Relaxation

PRODUCTS = {"exact": exact_product, "finite_difference": finite_difference_product}


class BilevelSearch:
    """Supernet, optimizers and objectives of one search, and the two kinds of step.

    steps_of_epoch: those of the present epoch that are done; more than 0 only after a search was stopped in it.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        settings = experiment.search
        self.experiment = experiment
        self.fabric = fabric
        self.aggregator = make_aggregator(experiment.objectives, stream_seed(experiment.seed, STAGE, "balance"))
        self.table = CostTable(experiment.space.build(), derived_shape(experiment, data))
        self.bounds = bounds_of(experiment.objectives)
        check_attainable(self.bounds, self.table)
        self.images = SearchImages(experiment, data, fabric)
        self.steps_per_epoch = self.images.steps_per_epoch
        seed_stream(experiment.seed, STAGE, "weights")
        self.supernet = make_supernet(experiment, data)
        synchronise(fabric, experiment.fabric, self.supernet)
        fabric.to_device(self.supernet)
        # depthwise convolutions are faster in it
        self.supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = self.supernet  # whose weights are trained
        self.alphas = self.supernet.alphas
        self.initial_alphas = self.alphas.detach().clone()
        self.weights = self.supernet.weights()
        self.weight_optimizer = make_weight_optimizer(self.weights, experiment.weight_optimizer)
        self.alpha_optimizer = torch.optim.Adam(
            [self.alphas],
            lr=settings.alpha_learning_rate,
            betas=settings.alpha_betas,
            weight_decay=settings.alpha_weight_decay,
        )
        self.attack = attack_on(self.supernet, experiment.attack)
        self.carried = self._carried_attack() if experiment.attack.carry_over else None
        self.guard = Guard(settings.guard)
        self.epoch = 0
        self.steps_of_epoch = 0
        self._randomness: dict[str, Any] = {}
        self.chance = self._chance_of_epoch()
        self.history: list[Tensor] = []
        self.seconds = 0.0

    def step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """One step of the alphas, then one of the weights, alone at first; returns the row for metrics.jsonl."""
        self.supernet.moment = self._moment()
        row = self._waiting_row() if self.is_warming_up else self.architecture_step(train, valid)
        self.supernet.moment = self._moment()
        return row | self.weight_step(train)

    def architecture_step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Adam on the direction that balances the objectives."""
        evaluated = self.evaluate_objectives(train, valid)
        for name, result in evaluated.items():
            if not math.isfinite(result.value):
                raise FloatingPointError(f"objective {name}: its value is {result.value}")
        if "accuracy" in evaluated:
            show_validation(self.weight_optimizer, evaluated["accuracy"].value)
        active = [name for name in evaluated if name not in self.bounds or evaluated[name].value > 0]
        gradients = {name: result.gradient.flatten() for name, result in evaluated.items()}
        balanced = balance(gradients, aggregator=self.aggregator, active=active)
        row = self._row(evaluated, balanced)
        self.alphas.grad = balanced.direction.view_as(self.alphas)
        if self.relaxation.zero_one:
            self.alphas.grad += self.relaxation.penalty_gradient(self.supernet.space, self.alphas)
        self.alpha_optimizer.step()
        self.alpha_optimizer.zero_grad()
        return row

    def evaluate_objectives(self, train: Batch, valid: Batch) -> dict[str, Evaluated]:
        """Value and gradient in alpha of every objective, of the order that the settings name."""
        image_losses: dict[str, Loss] = {
            "accuracy": lambda: self._cross_entropy(valid.images, valid.labels),
            "robustness": lambda: self._cross_entropy(self._attacked(valid), valid.labels),
        }
        losses = {str(name): image_losses[name] for name in self.experiment.objectives.names if name in image_losses}
        resources = resource_losses(self.bounds, self.table, self.alphas, self.relaxation)
        return self._hypergradients(losses, train) | first_order(resources, self.alphas, list)

    def _hypergradients(self, losses: dict[str, Loss], train: Batch) -> dict[str, Evaluated]:
        search, (group,) = self.experiment.search, self.weight_optimizer.param_groups
        if search.order == "first":
            return first_order(losses, self.alphas, self._reduce, weights=self.weights)
        training_loss, product = self.training_loss(train), PRODUCTS[search.hessian]
        if search.order == "unrolled":
            return unrolled(
                losses,
                training_loss,
                self.weights,
                self.alphas,
                step_size=group["lr"],
                drift=drift(self.weight_optimizer, self.weights),
                product=product,
                reduce=self._reduce,
            )
        return implicit(
            losses,
            training_loss,
            self.weights,
            self.alphas,
            solver=make_solver(search.order, search.implicit, group["lr"]),
            damping=group["weight_decay"] + search.implicit.damping,
            product=product,
            reduce=self._reduce,
        )

    def weight_step(self, train: Batch) -> dict[str, Any]:
        """One step of the weights on clean and attacked images, in the parts that the settings give."""
        loss = self.training_loss(train)()
        # zeros where a cell that is adapted leaves an output to `none` alone
        gradients = torch.autograd.grad(loss, self.weights, materialize_grads=True)
        *slopes, loss = self._reduce([*gradients, loss.detach()])
        clip = self.experiment.weight_optimizer.clip
        norm = clipped_step(self.weight_optimizer, self.weights, slopes, clip, loss=loss)
        return {"training_loss": loss.item(), "weight_gradient_norm": norm}

    def training_loss(self, train: Batch) -> Loss:
        """Cross entropy of the weights; the attacked images are made now, for the present weights, and stay."""
        fraction = self.experiment.search.adversarial_fraction
        parts = [(1 - fraction, train.images)] if fraction < 1 else []
        if fraction > 0:
            parts.append((fraction, self._attacked(train)))
        return lambda: sum(
            (part * self._cross_entropy(inputs, train.labels) for part, inputs in parts),
            start=train.images.new_zeros(()),
        )

    def batches(self) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of augmented batches for weights and alphas of the present epoch, but for those that are done."""
        self.chance = self._chance_of_epoch()
        if self.carried is not None and not self.steps_of_epoch:
            self.carried.start_epoch(self.epoch)
        pairs = self.images.batches(self.epoch, done=self.steps_of_epoch, traced=self.carried is not None)
        self._go_on_drawing()
        yield from pairs

    def state(self, settings: dict[str, Any]) -> dict[str, Any]:
        """All that `restore` needs to go on as if nothing had happened; called in all processes."""
        return {
            "settings": settings,
            "epoch": self.epoch,
            "steps_of_epoch": self.steps_of_epoch,
            "randomness": self._randomness_now() if self.steps_of_epoch else {},
            "seconds": self.seconds,
            "supernet": self.supernet.state_dict(),
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "aggregator": self.aggregator.state(),
            "history": self.history,
            "guard": self.guard.state(),
        } | ({} if self.carried is None else {"perturbations": self.carried.state()})

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.supernet.load_state_dict(state["supernet"])
        self.weight_optimizer.load_state_dict(state["weight_optimizer"])
        self.alpha_optimizer.load_state_dict(state["alpha_optimizer"])
        self.aggregator.restore(state["aggregator"])
        if self.carried is not None:
            self.carried.restore(state["perturbations"])
        self.guard.restore(state["guard"])
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], list(state["history"])
        self.steps_of_epoch, self._randomness = state["steps_of_epoch"], state["randomness"]

    @property
    def steps(self) -> int:
        """Steps done."""
        return self.epoch * self.steps_per_epoch + self.steps_of_epoch

    @property
    def is_warming_up(self) -> bool:
        """Whether the alphas wait in the present epoch."""
        return self.epoch < self.experiment.search.warm_up

    @property
    def relaxation(self) -> Relaxation:
        """Of the supernet."""
        return self.supernet.relaxation

    def diagnose(self) -> dict[str, Any]:
        """Signs of collapse after the present epoch's steps, for its last row of metrics.jsonl.

        An eigenvalue that is not finite is left out, and so stops no search, unless the guard reads it.
        """
        signs, settings = signs_of_collapse(self.supernet), self.experiment.search
        if settings.diagnostics.iterations:
            found = self._largest_eigenvalue()
            if found.is_finite or settings.guard.reads_eigenvalue:
                signs["eigenvalue"] = asdict(found)
        return signs

    def go_back(self, epoch: int) -> None:
        """Give the alphas the values that they had after an epoch, 0 for the first ones; Adam forgets its averages."""
        with torch.no_grad():
            self.alphas.copy_([self.initial_alphas, *self.history][epoch])
        self.alpha_optimizer.state.clear()

    def derived_cost(self) -> dict[str, int]:
        """Exact size of the network that the present alphas give."""
        return self.cost_of(self.supernet.derive())

    def cost_of(self, genotype: Genotype) -> dict[str, int]:
        """Exact size of a genotype's network, of the shape that is bounded."""
        exact = self.table.exact(genotype)
        return {quantity: int(value) for quantity, value in zip(QUANTITIES, exact.tolist(), strict=True)}

    def _waiting_row(self) -> dict[str, Any]:
        return {"warm_up": True, "derived": self.derived_cost()}

    def _row(self, evaluated: dict[str, Evaluated], balanced: Balance) -> dict[str, Any]:
        residuals = {name: result.residual for name, result in evaluated.items() if result.residual is not None}
        return {
            "objectives": {name: result.value for name, result in evaluated.items()},
            "bounds": {name: [bound.lower, bound.upper] for name, bound in self.bounds.items()},
            "gradient_norms": {name: result.gradient.norm().item() for name, result in evaluated.items()},
            "balance": {
                "weights": balanced.weights,
                "scales": balanced.scales,
                "norm": balanced.norm,
                "residual": balanced.residual,
            },
            "derived": self.derived_cost(),
        } | ({"hypergradient_residuals": residuals} if residuals else {})

    def _largest_eigenvalue(self) -> Eigenvalue:
        """Of the Hessian in alpha of the clean validation loss, without what is random; the same in all processes."""
        settings = self.experiment.search.diagnostics
        self.supernet.moment = Moment(self._progress())
        generator = torch.Generator().manual_seed(stream_seed(self.experiment.seed, STAGE, "eigenvalue", self.epoch))
        images = self.images.parts["alphas"]
        chosen = images.take(torch.randperm(len(images), generator=generator)[: settings.images]).kept()
        with frozen(self.weights), own_statistics(self.supernet):  # all processes look at the same images
            found = largest_eigenvalue(
                lambda: self._cross_entropy(as_float(chosen.images), chosen.labels),
                self.alphas,
                iterations=settings.iterations,
                generator=generator,
            )
        value, residual = self._reduce([self.alphas.new_tensor(figure) for figure in (found.value, found.residual)])
        return Eigenvalue(value.item(), residual.item())

    def _progress(self) -> float:
        return self.epoch / self.experiment.search.epochs

    def _chance_of_epoch(self) -> torch.Generator:
        """Of what is random in the relaxation; the same in all processes."""
        return torch.Generator().manual_seed(stream_seed(self.experiment.seed, STAGE, "relaxation", self.epoch))

    def _randomness_now(self) -> dict[str, Any]:
        return {"global": random_state(self.fabric), "relaxation": self.chance.get_state()}

    def _go_on_drawing(self) -> None:
        """Draw what comes next in an epoch that was stopped in its middle."""
        if self._randomness:
            restore_random_state(self.fabric, self._randomness["global"])
            self.chance.set_state(self._randomness["relaxation"])
            self._randomness = {}

    def _moment(self) -> Moment:
        """Drawn once a step: an attack and all products with one Hessian must see the same supernet."""
        if not self.relaxation.is_random:
            return Moment(self._progress())
        return Moment(self._progress(), Chance.draw(self.supernet.space, self.chance, self.alphas.device))

    def _cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor:
        with self.fabric.autocast():
            return F.cross_entropy(at_least_float32(self.network(images)), labels)

    def _attacked(self, batch: Batch) -> Tensor:
        with self.fabric.autocast():
            return self.attack(batch.images, batch.labels) if self.carried is None else self.carried(batch)

    def _carried_attack(self) -> CarriedAttack:
        return CarriedAttack(
            continued_attack_on(self.supernet, self.experiment.attack),
            self.images.parts,
            self.fabric,
            seed=self.experiment.seed,
            reset_every=self.experiment.attack.reset_every,
        )

    def _reduce(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return mean_over_processes(self.fabric, tensors)


def make_supernet(experiment: Experiment, data: ImageData) -> Supernet:
    """The supernet of the settings, with initial values from torch's global generator."""
    settings, (mean, std) = experiment.search, data.statistics()
    return Supernet(
        experiment.space.build(),
        channels=settings.channels,
        layers=settings.layers,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
        mean=mean,
        std=std,
        partial_channels=settings.partial_channels,
        recompute=settings.recompute,
        relaxation=settings.relaxation.build(),
    )
