"""Where a search stands: epoch, steps, the alphas of its epochs, and what is drawn at random next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline.compute.processes import random_state, restore_random_state
from pipeline.compute.seeds import stream_seed
from pipeline.search.search_images import STAGE
from pipeline.settings import Experiment
from search_space import Supernet
from search_space.supernet.relaxation import RelaxationNoise, RelaxationState


class SearchState:
    """Counts epochs and steps, remembers the alphas after each epoch, and draws what is random in the relaxation.

    epoch: the present one, from 0.  steps_of_epoch: those of it that are done.  history: alphas after each epoch.
    seconds: spent in epochs so far.
    progress: 0 to 1, of the relaxation's schedules, where it does not follow the epochs.
    """

    def __init__(
        self,
        experiment: Experiment,
        supernet: Supernet,
        fabric: Fabric,
        *,
        steps_per_epoch: int,
        progress: float | None = None,
    ) -> None:
        self._experiment, self._supernet, self._fabric = experiment, supernet, fabric
        self._progress = progress
        self._initial_alphas = supernet.alphas.detach().clone()
        self._random_states: dict[str, Any] = {}  # of an epoch that was stopped in its middle, until it goes on
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        self.steps_of_epoch = 0
        self.history: list[Tensor] = []
        self.seconds = 0.0
        self.start_epoch()

    @property
    def steps(self) -> int:
        """Return how many steps of the whole search are done."""
        return self.epoch * self.steps_per_epoch + self.steps_of_epoch

    @property
    def is_warming_up(self) -> bool:
        """True while `search.warm_up` trains only the weights."""
        return self.epoch < self._experiment.search.warm_up

    @property
    def _progress_now(self) -> float:
        return self.epoch / self._experiment.search.epochs if self._progress is None else self._progress

    def start_epoch(self) -> None:
        """Draw what is random in the relaxation from the present epoch's seed, the same in all processes."""
        seed = stream_seed(self._experiment.seed, STAGE, "relaxation", self.epoch)
        self._generator = torch.Generator().manual_seed(seed)

    def go_on_drawing(self) -> None:
        """Draw what comes next in an epoch that was stopped in its middle; in others nothing changes."""
        if self._random_states:
            restore_random_state(self._fabric, self._random_states["global"])
            self._generator.set_state(self._random_states["relaxation"])
            self._random_states = {}

    def redraw(self) -> None:
        """Draw the noise of a step; its attack and all products with one Hessian must see the same supernet."""
        supernet = self._supernet
        noise = None
        if supernet.relaxation.is_random:
            noise = RelaxationNoise.draw(supernet.space, self._generator, supernet.alphas.device)
        seed = 0
        if supernet.relaxation.paths is not None:
            seed = int(torch.randint(2**62, (), generator=self._generator))
        supernet.relaxation_state = RelaxationState(self._progress_now, noise, seed)

    def leave_out_noise(self) -> None:
        """Let the supernet be what it is at the present epoch, without what is random."""
        self._supernet.relaxation_state = RelaxationState(self._progress_now)

    def end_step(self) -> None:
        """Count a step of the present epoch."""
        self.steps_of_epoch += 1

    def end_epoch(self) -> None:
        """Remember the alphas, and count the epoch."""
        self.epoch, self.steps_of_epoch = self.epoch + 1, 0
        self.history.append(self._alphas_now())

    def go_back(self, epoch: int, *, forget: bool) -> None:
        """Give the alphas the values that they had after an epoch, 0 for the first ones.

        forget: whether the search is over, and its history ends there.
        """
        with torch.no_grad():
            self._supernet.alphas.copy_([self._initial_alphas, *self.history][epoch])
        if forget:
            del self.history[epoch:]

    def replace_last(self) -> None:
        """Remember the present alphas as those after the last epoch."""
        self.history[-1] = self._alphas_now()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time until the block's end to the seconds."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs; called in all processes."""
        return {
            "epoch": self.epoch,
            "steps_of_epoch": self.steps_of_epoch,
            "randomness": self._random_states_now() if self.steps_of_epoch else {},
            "seconds": self.seconds,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], list(state["history"])
        self.steps_of_epoch, self._random_states = state["steps_of_epoch"], state["randomness"]

    def _random_states_now(self) -> dict[str, Any]:
        return {"global": random_state(self._fabric), "relaxation": self._generator.get_state()}

    def _alphas_now(self) -> Tensor:
        return self._supernet.alphas.detach().cpu().clone()
