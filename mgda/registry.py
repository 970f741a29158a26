"""The balances there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class BalanceOption(Option):
    """A balance; its code is an Aggregator, which takes `normalisation`.

    takes: what else of a search it takes, of "preferences" and "generator". A setting <name>_<argument>, such as
    cagrad_c, is an argument of that balance alone.
    """

    takes: tuple[str, ...] = ()


UNSCALED = {"normalisation": "none"}

BALANCES: Mapping[str, BalanceOption] = {
    "mgda": BalanceOption(
        label="MGDA",
        meaning="the shortest vector of the gradients' hull, along which no objective rises (Sener & Koltun 2018)",
        code="mgda.multiple_gradient:MGDA",
        takes=("preferences",),
    ),
    "weighted_sum": BalanceOption(
        label="weighted sum",
        meaning="the gradient of one scalar objective, the sum weighted by `objectives.preferences`",
        code="mgda.torchjd_aggregators:WeightedSum",
        takes=("preferences",),
        settings=UNSCALED,
    ),
    "upgrad": BalanceOption(
        label="UPGrad",
        meaning="the mean after each gradient is projected so that no objective rises (Quinton & Rey 2024; torchjd)",
        code="mgda.torchjd_aggregators:UPGrad",
        takes=("preferences",),
        settings=UNSCALED,
    ),
    "cagrad": BalanceOption(
        label="CAGrad",
        meaning="near the mean gradient, the direction whose least improvement is largest (Liu et al. 2021; torchjd)",
        code="mgda.torchjd_aggregators:CAGrad",
        settings=UNSCALED,
    ),
    "nash_mtl": BalanceOption(
        label="Nash-MTL",
        meaning="the Nash bargaining solution, of `nash_mtl_max_norm` at most (Navon et al. 2022; torchjd)",
        code="mgda.torchjd_aggregators:NashMTL",
        settings=UNSCALED,
    ),
    "pcgrad": BalanceOption(
        label="PCGrad",
        meaning="the sum after each gradient loses its part against others, in random order (Yu et al. 2020; torchjd)",
        code="mgda.torchjd_aggregators:PCGrad",
        takes=("generator",),
        settings=UNSCALED,
    ),
}
