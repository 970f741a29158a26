"""The objectives that alphas are trained for: losses on images, and the distance of a size from its bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mgda import MGDA
from pipeline.data import ImageData
from pipeline.settings import Experiment, ObjectiveSettings
from search_space import CostTable, Genotype, NetworkShape
from search_space.quantities import QUANTITIES
from search_space.supernet.relaxation import DARTS, Relaxation

Loss = Callable[[], Tensor]
"""A scalar, computed at the present values of weights and alphas."""


@dataclass(frozen=True)
class Bound:
    """An interval for one quantity of the derived network; a side that is None is open."""

    quantity: str
    lower: float | None
    upper: float | None

    def violation(self, value: Tensor) -> Tensor:
        """How far a value lies outside, as a part of the bound that it breaks; 0 inside."""
        outside = torch.zeros_like(value)
        if self.upper is not None:
            outside = outside + torch.relu(value / self.upper - 1)
        if self.lower is not None and self.lower > 0:
            outside = outside + torch.relu(1 - value / self.lower)
        return outside


def bounds_of(settings: ObjectiveSettings) -> dict[str, Bound]:
    """Objective name -> bound, of the resource objectives among the settings' names."""
    quantities = {"parameters": "parameters", "macs": settings.macs_convention}
    return {
        name: Bound(quantity, *getattr(settings, name))
        for name, quantity in quantities.items()
        if name in settings.names
    }


def check_attainable(bounds: Mapping[str, Bound], table: CostTable) -> None:
    """Raise ValueError with the reachable ranges when no network of the space keeps all bounds."""
    if table.attainable(_intervals(bounds)):
        return
    asked, reachable = [], []
    for name, bound in bounds.items():
        low, high = table.reachable(bound.quantity)
        asked.append(f"objectives.{name}=[{_number(bound.lower)}, {_number(bound.upper)}]")
        reachable.append(f"{name} {low:,} to {high:,}")
    shape = table.shape
    fitting = [f"objectives.{name}=[null,{upper}]" for name, upper in _fitting(bounds, table).items()]
    raise ValueError(
        f"no cell of this space meets {' and '.join(asked)} in a network of {shape.channels} channels and "
        f"{shape.layers} layers; reachable, each alone and in steps: {', '.join(reachable)}; "
        f"use {' '.join(fitting)}, or objectives=robust for no bounds"
    )


def _fitting(bounds: Mapping[str, Bound], table: CostTable) -> dict[str, int]:
    """Upper bounds that some cell keeps, by name: half-way between the smallest and the largest, if one keeps them all.

    The largest of each are kept by every cell.
    """
    ranges = {name: table.reachable(bound.quantity) for name, bound in bounds.items()}
    half_way = {name: (low + high) // 2 for name, (low, high) in ranges.items()}
    if table.attainable({bounds[name].quantity: (None, float(upper)) for name, upper in half_way.items()}):
        return half_way
    return {name: high for name, (_, high) in ranges.items()}


def project_onto_bounds(
    bounds: Mapping[str, Bound],
    table: CostTable,
    alphas: Tensor,
    *,
    relaxation: Relaxation = DARTS,
    step: float = 0.01,
    steps: int = 200,
) -> bool:
    """Move alphas, in place, against the bounds' gradients alone until the derived network keeps them all.

    A search's last step may leave the derived network just outside. step: length of a move, relative to the norm of the
    alphas where that is above 1. Returns whether all bounds are kept; when they are not after `steps` moves, the alphas
    stay as they were given.
    """
    before = alphas.detach().clone()
    losses = resource_losses(bounds, table, alphas, relaxation)
    aggregator = MGDA(normalisation="l2")
    for _ in range(steps):
        broken = {name: loss() for name, loss in losses.items()}
        broken = {name: value for name, value in broken.items() if value.item() > 0}
        if not broken:
            return True
        jacobian = torch.stack([torch.autograd.grad(value, alphas)[0].flatten() for value in broken.values()])
        direction = aggregator(jacobian)
        if not direction.any():
            break
        length = step * max(1.0, before.norm().item())
        with torch.no_grad():
            alphas -= (length * direction / direction.norm()).view_as(alphas)
    with torch.no_grad():
        alphas.copy_(before)
    return False


def derive_within_bounds(
    bounds: Mapping[str, Bound], table: CostTable, alphas: Tensor, relaxation: Relaxation = DARTS
) -> Genotype:
    """The genotype of the alphas once they have settled inside the bounds; where they do not, the likeliest one inside.

    alphas: moved in place where they settle.  Raises ValueError when no network of the space keeps the bounds.
    """
    if project_onto_bounds(bounds, table, alphas, relaxation=relaxation):
        return relaxation.derive(table.space, alphas)
    found = table.likeliest(relaxation.strengths(table.space, alphas), _intervals(bounds))
    if found is None:
        raise ValueError(f"no cell of this space keeps the bounds {_intervals(bounds)}")
    return found


def _intervals(bounds: Mapping[str, Bound]) -> dict[str, tuple[float | None, float | None]]:
    return {bound.quantity: (bound.lower, bound.upper) for bound in bounds.values()}


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:,.0f}"


def resource_losses(
    bounds: Mapping[str, Bound], table: CostTable, alphas: Tensor, relaxation: Relaxation = DARTS
) -> dict[str, Loss]:
    """Objective name -> violation of its bound by the network to be derived.

    The value is that of the derived network, exactly; the gradient is that of the expected cost (straight through,
    Bengio et al. 2013). With the expected cost as value, near-uniform alphas would be pushed on after the derived
    network has met its bound, until no operation with weights is left in it.
    """
    derived: dict[int, Tensor] = {}  # by the version of the alphas, which counts what was done to them in place

    def cost() -> Tensor:
        expected = table.expected(relaxation.strengths(table.space, alphas))
        if alphas._version not in derived:
            derived.clear()
            derived[alphas._version] = table.exact(relaxation.derive(table.space, alphas)).to(expected)
        return expected + (derived[alphas._version] - expected).detach()

    def loss(bound: Bound) -> Loss:
        return lambda: bound.violation(cost()[QUANTITIES.index(bound.quantity)])

    return {name: loss(bound) for name, bound in bounds.items()}


def derived_shape(experiment: Experiment, data: ImageData) -> NetworkShape:
    """Shape of the network to be derived, whose size is bounded."""
    search = experiment.search
    return data.network_shape(channels=search.derived_channels, layers=search.derived_layers)


def exact_cost(table: CostTable, genotype: Genotype) -> dict[str, int]:
    """Quantity -> exact size of a genotype's network, of the shape that is bounded."""
    return {quantity: int(value) for quantity, value in zip(QUANTITIES, table.exact(genotype).tolist(), strict=True)}
