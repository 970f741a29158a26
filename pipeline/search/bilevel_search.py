"""A search put together for its settings: images, supernet, the two kinds of step, guard and state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mgda import Aggregator
from pipeline.compute.fabric import lay_out
from pipeline.compute.processes import mean_over_processes, synchronise
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import Batch, ImageData, as_float
from pipeline.search.balancing import make_aggregator
from pipeline.search.bilevel import ArchitectureStep, WeightStep, bilevel_step
from pipeline.search.carried_attack import CarriedAttack
from pipeline.search.collapse.guard import Guard
from pipeline.search.collapse.signs import Eigenvalue, largest_eigenvalue, signs_of_collapse
from pipeline.search.hypergradient import frozen
from pipeline.search.image_objectives import Capture, ImageObjectives, capture_of, uncaptured
from pipeline.search.objectives import bounds_of, check_attainable, derived_shape, project_onto_bounds
from pipeline.search.path_losses import PathLosses
from pipeline.search.search_images import STAGE, SearchImages
from pipeline.search.search_state import SearchState
from pipeline.search.supernet_losses import BatchAttack, SupernetLosses, make_supernet, on_batches, training_gradients
from pipeline.settings import Experiment
from pipeline.training.learning_rate import rate_of_epoch, set_learning_rate
from pipeline.training.optimizers import make_weight_optimizer, multiply_weight_decay
from pipeline.training.steps import attack_of_settings, continued_attack_on
from search_space import CostTable
from search_space.kernels.statistics import own_statistics
from search_space.supernet.paths import SinglePath


class BilevelSearch:
    """Puts a search together, and moves all its parts on by pairs of batches.

    progress: see `SearchState`.  Raises ValueError where bounds cannot be met, or batches do not fit.
    """

    def __init__(
        self, experiment: Experiment, data: ImageData, fabric: Fabric, *, progress: float | None = None
    ) -> None:
        self.experiment, self.fabric = experiment, fabric
        aggregator = make_aggregator(experiment.objectives, stream_seed(experiment.seed, STAGE, "balance"))
        self.table = CostTable(experiment.space.build(), derived_shape(experiment, data))
        self.bounds = bounds_of(experiment.objectives)
        check_attainable(self.bounds, self.table)
        self.images = SearchImages(experiment, data, fabric)
        seed_stream(experiment.seed, STAGE, "weights")
        self.supernet = make_supernet(experiment, data)
        synchronise(fabric, experiment.fabric, self.supernet)
        fabric.to_device(self.supernet)
        lay_out(self.supernet, experiment.fabric)
        self.alphas = self.supernet.alphas
        self.carried = self._carried_attack() if experiment.attack.carry_over else None
        paths = self.supernet.relaxation.paths
        self.losses = self._mixture_losses() if paths is None else self._path_losses(paths)
        capture = capture_of(experiment, self.supernet.relaxation, fabric)
        self.weight_step = self.weight_step_of(self.losses, self.supernet.weights(), capture=capture)
        self.architecture_step = self._architecture_step(aggregator, capture)
        self.guard = Guard(experiment.search.guard)
        self.state = SearchState(
            experiment, self.supernet, fabric, steps_per_epoch=self.images.steps_per_epoch, progress=progress
        )

    def _mixture_losses(self) -> SupernetLosses:
        attack = self.carried or on_batches(attack_of_settings(self.supernet, self.experiment.attack))
        return self.losses_of(self.supernet, attack)

    def _path_losses(self, count: int) -> PathLosses:
        path = SinglePath(self.supernet)
        attack = on_batches(attack_of_settings(path, self.experiment.attack))
        fraction = self.experiment.search.adversarial_fraction
        return PathLosses(path, attack, self.fabric, adversarial_fraction=fraction, count=count)

    def losses_of(self, network: nn.Module, attack: BatchAttack) -> SupernetLosses:
        """Make the losses of the supernet, or of a network that inherits from it."""
        fraction = self.experiment.search.adversarial_fraction
        return SupernetLosses(network, attack, self.fabric, adversarial_fraction=fraction)

    def weight_step_of(
        self,
        losses: SupernetLosses,
        weights: list[nn.Parameter],
        *,
        are_trained: bool = False,
        capture: Capture = uncaptured,
    ) -> WeightStep:
        """Make the step of weights by the settings, with an optimizer of its own."""
        settings = self.experiment.weight_optimizer
        optimizer = make_weight_optimizer(weights, settings, are_trained=are_trained)
        gradients = capture(partial(training_gradients, losses, weights))
        return WeightStep(gradients, weights, optimizer, settings.clip, self.fabric)

    def _architecture_step(self, aggregator: Aggregator, capture: Capture) -> ArchitectureStep:
        settings = self.experiment.search
        adam = torch.optim.Adam(
            [self.alphas],
            lr=settings.alpha_learning_rate,
            betas=settings.alpha_betas,
            weight_decay=settings.alpha_weight_decay,
        )
        images = ImageObjectives(
            names=[str(name) for name in self.experiment.objectives.names],
            losses=self.losses,
            weights=self.weight_step.weights,
            alphas=self.alphas,
            settings=settings,
            optimizer=self.weight_step.optimizer,
            fabric=self.fabric,
            capture=capture,
        )
        return ArchitectureStep(
            images=images,
            supernet=self.supernet,
            weight_step=self.weight_step,
            optimizer=adam,
            aggregator=aggregator,
            bounds=self.bounds,
            table=self.table,
        )

    def _carried_attack(self) -> CarriedAttack:
        return CarriedAttack(
            continued_attack_on(self.supernet, self.experiment.attack),
            self.images.parts,
            self.fabric,
            seed=self.experiment.seed,
            reset_every=self.experiment.attack.reset_every,
        )

    def start_epoch(self) -> float:
        """Seed what the steps of the present epoch draw, and set and return the learning rate of the weights."""
        search, optimizer = self.experiment.search, self.experiment.weight_optimizer
        rate = rate_of_epoch(optimizer, self.state.epoch, search.epochs, search.final_rate)
        set_learning_rate(self.weight_step.optimizer, rate)
        seed_stream(self.experiment.seed, STAGE, self.state.epoch, self.fabric.global_rank)
        return rate

    def batches(self) -> Iterator[tuple[Batch, Batch]]:
        """Yield pairs of augmented batches for weights and alphas of the present epoch, but for those that are done."""
        epoch, done = self.state.epoch, self.state.steps_of_epoch
        self.state.start_epoch()
        if self.carried is not None and not done:
            self.carried.start_epoch(epoch)
        pairs = self.images.batches(epoch, done=done, traced=self.carried is not None)
        self.state.go_on_drawing()
        yield from pairs

    def step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Move the alphas, then the weights; returns the row of metrics.jsonl."""
        return bilevel_step(self.architecture_step, self.weight_step, self.state, train, valid)

    def diagnose(self) -> dict[str, Any]:
        """Look for signs of collapse after the present epoch's steps, for its last row of metrics.jsonl.

        An eigenvalue that is not finite is left out, and so stops no search, unless the guard reads it.
        """
        signs, settings = signs_of_collapse(self.supernet), self.experiment.search
        if settings.diagnostics.iterations and not settings.relaxation.paths:
            found = self._largest_eigenvalue()
            if found.is_finite or settings.guard.reads_eigenvalue:
                signs["eigenvalue"] = asdict(found)
        return signs

    def end_epoch(self, signs: dict[str, Any]) -> None:
        """Count the epoch, and go back where the guard says so after its signs of collapse.

        A search that the guard stops ends with the alphas that it goes back to; another one has more weight decay then.
        """
        has_chosen = not self.state.is_warming_up
        self.state.end_epoch()
        back_to = self.guard.watch(self.state.epoch, signs) if has_chosen else None
        if back_to is None:
            return
        self.state.go_back(back_to, forget=self.guard.has_stopped)
        self.architecture_step.optimizer.state.clear()  # averages of Adam
        if not self.guard.has_stopped:
            multiply_weight_decay(self.weight_step.optimizer, self.experiment.search.guard.decay_factor)

    def take_alphas(self, alphas: Tensor) -> None:
        """Put others in the place of the alphas."""
        with torch.no_grad():
            self.alphas.copy_(alphas)

    def settle(self) -> None:
        """Move the last epoch's alphas until the derived network keeps all bounds, where they can."""
        project_onto_bounds(self.bounds, self.table, self.alphas, relaxation=self.supernet.relaxation)
        self.state.replace_last()

    def checkpoint(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return all that `restore` needs to go on as if nothing had happened; called in all processes."""
        return self.state.state() | {
            "settings": settings,
            "supernet": self.supernet.state_dict(),
            "weight_optimizer": self.weight_step.optimizer.state_dict(),
            "alpha_optimizer": self.architecture_step.optimizer.state_dict(),
            "aggregator": self.architecture_step.aggregator.state(),
            "guard": self.guard.state(),
            "perturbations": {} if self.carried is None else self.carried.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.supernet.load_state_dict(state["supernet"])
        self.weight_step.optimizer.load_state_dict(state["weight_optimizer"])
        self.architecture_step.optimizer.load_state_dict(state["alpha_optimizer"])
        self.architecture_step.aggregator.restore(state["aggregator"])
        if self.carried is not None:
            self.carried.restore(state["perturbations"])
        self.guard.restore(state["guard"])
        self.state.restore(state)

    def _largest_eigenvalue(self) -> Eigenvalue:
        """Measure the Hessian in alpha of the clean validation loss, without noise; the same in all processes."""
        settings, seed = self.experiment.search.diagnostics, self.experiment.seed
        self.state.leave_out_noise()
        generator = torch.Generator().manual_seed(stream_seed(seed, STAGE, "eigenvalue", self.state.epoch))
        images = self.images.parts["alphas"]
        chosen = images.take(torch.randperm(len(images), generator=generator)[: settings.images]).kept()
        weights = self.weight_step.weights
        with frozen(weights), own_statistics(self.supernet):  # all processes look at the same images
            found = largest_eigenvalue(
                lambda: self.losses.cross_entropy(as_float(chosen.images), chosen.labels),
                self.alphas,
                iterations=settings.iterations,
                generator=generator,
            )
        figures = [self.alphas.new_tensor(figure) for figure in (found.value, found.residual)]
        value, residual = mean_over_processes(self.fabric, figures)
        return Eigenvalue(value.item(), residual.item())
