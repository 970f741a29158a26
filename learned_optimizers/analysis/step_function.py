"""An optimizer as a function of one element: (state, gradient) -> (state, update)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True)
class Moment:
    """What an element's step depends on beside its own state and gradient.

    step: steps before this one.  size: root mean square of the gradients of its tensor; optimizers whose elements do
    not see one another ignore it.
    """

    step: int
    size: float


class StepFunction(ABC):
    """A step of n elements, none of which sees another. All numbers are float64.

    name: for people.  rows: names of the numbers of an element's state.
    """

    name: str
    rows: tuple[str, ...]

    @abstractmethod
    def initial(self) -> Tensor:
        """Return an element's state before any step, [rows]."""

    @abstractmethod
    def __call__(self, states: Tensor, gradients: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """Return states [n, rows] after the step, and what it subtracts from the parameters, [n].

        states: [n, rows].  gradients: [n].
        """

    @abstractmethod
    def make(self, params: Sequence[Tensor]) -> Optimizer:
        """Return the optimizer itself, for parameters of any shapes."""

    @abstractmethod
    def read(self, optimizer: Optimizer, params: Sequence[Tensor]) -> Tensor:
        """Return the states of all elements of the parameters, [elements, rows]."""

    def after(self, steps: int, gradients: Tensor, size: float) -> Tensor:
        """Return states [n, rows] after `steps` steps from the first state on under constant gradients [n]."""
        states = self.initial().expand(len(gradients), -1)
        for step in range(steps):
            states, _ = self(states, gradients, Moment(step, size))
        return states

    def slopes(self, states: Tensor, gradients: Tensor, moment: Moment, width: float) -> Tensor:
        """Return the derivative of the update in the gradient, by central differences over +-`width`: [n]."""
        (_, above), (_, below) = (self(states, gradients + side * width, moment) for side in (1, -1))
        return (above - below) / (2 * width)
