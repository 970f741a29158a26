"""Other ways to weigh the gradients: fixed weights, and those of the library torchjd, on the same scaled Jacobian."""

from __future__ import annotations

import importlib
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mgda.aggregator import NORMALISATIONS, Aggregator, GradientWeights, PreferenceAggregator, rows_of

INSTALL = "pip install -e '.[balancing]'"
# Relative to the Gramian's trace; torchjd's own 1e-4 lets an objective ascend where gradients almost cancel.
RIDGE = 1e-10


@dataclass(frozen=True, kw_only=True)
class _Weighing(Aggregator):
    """Weights from the scaled gradients."""

    def weigh(self, jacobian: Tensor, names: Sequence[str] = ()) -> GradientWeights:
        """Return weights of the gradients after normalisation."""
        rows = rows_of(jacobian)
        scales = NORMALISATIONS[self.normalisation](torch.linalg.vector_norm(rows, dim=1))
        weights = self._weights(scales[:, None] * rows, names)
        return GradientWeights(weights=weights.to(scales), scales=scales)

    @abstractmethod
    def _weights(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        """Return weights [m] of the scaled gradients [m, n], in float64."""


@dataclass(frozen=True, kw_only=True)
class WeightedSum(_Weighing, PreferenceAggregator):
    """Sum of the gradients with the preferences as weights: that of one scalar objective; some may rise."""

    def _weights(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        return self.preferred(rows, names)


@dataclass(frozen=True, kw_only=True)
class UPGrad(_Weighing, PreferenceAggregator):
    """Mean of the gradients, each projected on the cone of directions that raise none (Quinton & Rey 2024).

    preferences: weights of the mean.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("torchjd.linalg", "QuadprogProjector")

    def _weights(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        preferences = self.preferred(rows, names)
        projector = _require("torchjd.linalg", "QuadprogProjector", reg_eps=RIDGE)
        rule = _require("torchjd.aggregation", "UPGradWeighting", preferences / preferences.sum(), projector)
        weights: Tensor = rule(_relative_gramian(rows))
        return weights


@dataclass(frozen=True, kw_only=True)
class CAGrad(_Weighing):
    """Direction near the mean gradient that raises the least improvement most (Liu et al. 2021).

    c: radius of the ball around the mean gradient, relative to its length; below 1 it converges to a stationary point
        of the mean.
    """

    c: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.c < 1:
            raise ValueError(f"expected c in [0, 1), found {self.c}")
        _require("torchjd.aggregation", "CAGradWeighting", c=self.c)

    def _weights(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        weights: Tensor = _require("torchjd.aggregation", "CAGradWeighting", c=self.c)(_relative_gramian(rows))
        return weights


@dataclass(frozen=True, kw_only=True)
class PCGrad(_Weighing):
    """Sum of the gradients, each rid of its conflicts with the others in random order (Yu et al. 2020).

    generator: of the orders, on the CPU.
    """

    generator: torch.Generator = field(default_factory=torch.Generator, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("torchjd.aggregation", "PCGradWeighting")

    def _weights(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        before = torch.get_rng_state()  # torchjd draws from the global generator
        torch.set_rng_state(self.generator.get_state())
        try:
            weights: Tensor = _require("torchjd.aggregation", "PCGradWeighting")(_relative_gramian(rows))
            self.generator.set_state(torch.get_rng_state())
        finally:
            torch.set_rng_state(before)
        return weights

    def state(self) -> dict[str, Any]:
        """Return the generator's state."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state of the generator."""
        self.generator.set_state(state["generator"])


@dataclass(frozen=True, kw_only=True)
class NashMTL(_Weighing):
    """Nash bargaining solution: weights w with (G w)_i = 1 / w_i, G in units of its norm (Navon et al. 2022).

    max_norm: longest direction; longer ones are shortened to it.

    Each call starts from the weights of the last one, kept by name, since objectives leave the balance and come back. A
    zero gradient has nothing to bargain for and gets weight 0; where the solver fails the weights stay as they were.
    """

    max_norm: float = 1.0
    previous: dict[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.max_norm > 0:
            raise ValueError(f"expected max_norm above 0, found {self.max_norm}")
        _require("torchjd.aggregation", "NashMTL", n_tasks=2)

    def _weights(self, rows: Tensor, names: Sequence[str]) -> Tensor:
        names = names or [str(index) for index in range(len(rows))]
        weights = rows.new_zeros(len(rows))
        bargaining = rows.any(dim=1)
        players = [name for name, plays in zip(names, bargaining.tolist(), strict=True) if plays]
        if len(players) == 1:  # who is alone gets all; torchjd's problem needs two
            weights[bargaining] = min(1.0, self.max_norm / rows.norm().item())
        elif players:
            weights[bargaining] = self._bargain(rows[bargaining], players)
        return weights

    def _bargain(self, rows: Tensor, players: Sequence[str]) -> Tensor:
        rule = _require("torchjd.aggregation", "NashMTL", n_tasks=len(players), max_norm=self.max_norm).weighting
        start = torch.tensor([self.previous.get(name, 1.0) for name in players], dtype=torch.float64)
        rule.prvs_alpha = start.numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cvxpy warns that it re-solves from scratch, and where the solver fails
            weights: Tensor = rule(rows)
        self.previous.update(zip(players, rule.prvs_alpha.tolist(), strict=True))
        return weights

    def state(self) -> dict[str, Any]:
        """Return the last weights by name."""
        return {"previous": dict(self.previous)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to earlier weights."""
        self.previous.clear()
        self.previous.update(state["previous"])


def _relative_gramian(rows: Tensor) -> Tensor:
    """Gramian of trace 1: torchjd takes one of trace below 1e-4 for zero, and no weights depend on a common factor."""
    length = torch.linalg.vector_norm(rows)
    relative: Tensor = rows / length.where(length > 0, 1)
    return relative @ relative.T


def _require(module: str, name: str, *arguments: Any, **keywords: Any) -> Any:
    """Make a class of torchjd. Raises ValueError that says what to install where it or its solvers are missing."""
    try:
        return getattr(importlib.import_module(module), name)(*arguments, **keywords)
    except ImportError as error:
        raise ValueError(f"{name} of torchjd and its solvers are not installed; run: {INSTALL}") from error
