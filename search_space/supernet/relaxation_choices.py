"""What is chosen of a relaxation, and which choices go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from on_demand import Option, chosen
from search_space.cells.choices import SpaceChoices


@dataclass(frozen=True, kw_only=True)
class OperationWeights(Option):
    """How an edge's alphas become the weights of its operations, by a function of `operation_weights`.

    is_random: it draws anew in each step.  sums_to_one: the weights of an edge do.
    strengths: how a person calls what a cell is derived from, which is without noise.
    """

    is_random: bool = False
    sums_to_one: bool = True
    strengths: str = "softmax"


OPERATION_WEIGHTS: Mapping[str, OperationWeights] = {
    "softmax": OperationWeights(
        label="softmax",
        meaning="the softmax of an edge's alphas (DARTS; Liu et al. 2019)",
        code="search_space.supernet.operation_weights:softmax",
    ),
    "sigmoid": OperationWeights(
        label="sigmoid",
        meaning="the sigmoid of each alpha, so that operations do not compete (FairDARTS; Chu et al. 2020)",
        code="search_space.supernet.operation_weights:sigmoid",
        sums_to_one=False,
        strengths="sigmoid",
    ),
    "gumbel": OperationWeights(
        label="Gumbel softmax",
        meaning="one operation an edge, drawn anew in each step, straight through (GDAS; Dong & Yang 2019)",
        code="search_space.supernet.operation_weights:gumbel_softmax",
        is_random=True,
    ),
    "dirichlet": OperationWeights(
        label="Dirichlet",
        meaning="drawn anew in each step from a Dirichlet distribution of concentrations elu(alpha) + 1 "
        "(DrNAS; Chen et al. 2021)",
        code="search_space.supernet.operation_weights:dirichlet",
        is_random=True,
        strengths="mean weights",
    ),
}


@dataclass(frozen=True, kw_only=True)
class RelaxationChoices:
    """The numbers and names that a relaxation is made of; each is off by default, and they combine.

    operations: weights of an edge's operations, a key of OPERATION_WEIGHTS.
    normalised_edges: multiply by the softmax, over the edges that enter a node, of the edges' alphas.
    zero_one: weight of FairDARTS's loss that drives each sigmoid to 0 or 1; 10 as published.
    beta_decay: weight, at the end of the search, of a loss that keeps an edge's largest alphas small; it grows in a
    line from 0, to 50 as published.
    auxiliary_skip: added to the weight of skip_connect, falling in a line to 0 over the search; 1 as published.
    dropout: probability that an operation is left out of a step; the others grow by 1 / (1 - dropout).
    sampled_operations, sampled_edges: as many of an edge's operations, and of a node's edges, take part in a step,
    drawn uniformly; None for all. Unless they are normalised, sampled edges are scaled up so that a node's mean stays.
    temperature: of gumbel, at the start and the end of the search, in a line between.
    paths: cells drawn by the alphas in one of their steps, and run one by one, in the place of a mixture; None for it.
    parametric_odds: with paths, in the cells that weights train on, how many times as likely an operation with weights
    is as one without.
    """

    operations: str = "softmax"
    normalised_edges: bool = False
    zero_one: float = 0.0
    beta_decay: float = 0.0
    auxiliary_skip: float = 0.0
    dropout: float = 0.0
    sampled_operations: int | None = None
    sampled_edges: int | None = None
    temperature: tuple[float, float] = (10.0, 0.1)
    paths: int | None = None
    parametric_odds: float = 1.0

    def __post_init__(self) -> None:
        chosen("weights of operations", OPERATION_WEIGHTS, self.operations)
        if self.zero_one and self.operations != "sigmoid":
            raise ValueError(f"the zero-one loss acts on sigmoids, and operations is {self.operations}")
        if self.beta_decay and self.operations not in ("softmax", "gumbel"):
            raise ValueError(f"beta-decay acts on alphas that share a softmax, and operations is {self.operations}")
        for name, count, shares in (
            ("operations", self.sampled_operations, True),
            ("edges", self.sampled_edges, self.normalised_edges),
        ):
            least = 2 if shares else 1  # what shares one unit with nothing else gets no gradient
            if count is not None and count < least:
                raise ValueError(f"sampled_{name} is at least {least} here, found {count}")
        if self.paths is not None:
            self._check_paths(self.paths)
        elif self.parametric_odds != 1:
            raise ValueError(f"parametric_odds={self.parametric_odds} is of cells that are drawn, and paths draws none")
        if not 0 < self.parametric_odds < inf:
            raise ValueError(f"parametric_odds is above 0 and finite, found {self.parametric_odds}")

    def _check_paths(self, paths: int) -> None:
        if paths < 2:
            raise ValueError(f"paths is at least 2, found {paths}: each is compared with the others of its step")
        of_mixtures = (self.auxiliary_skip, self.dropout, self.sampled_operations, self.sampled_edges)
        if self.operations != "softmax" or any(of_mixtures):
            raise ValueError(
                "paths draws cells by the softmax of alphas, one by one; other operations, an auxiliary skip, dropout "
                "and samples of operations or edges change a mixture, of which there is none"
            )

    @property
    def is_random(self) -> bool:
        """Return whether a step needs a RelaxationNoise."""
        draws = OPERATION_WEIGHTS[self.operations].is_random
        return bool(draws or self.dropout or self.sampled_operations or self.sampled_edges)

    def check(self, space: SpaceChoices) -> None:
        """Raise ValueError when the space has not what the relaxation acts on."""
        if self.auxiliary_skip and "skip_connect" not in space.operations:
            raise ValueError("an auxiliary skip is added to skip_connect, which is not among the space's operations")
