"""Calibration of the bands on simulations that neither trained nor judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analytic_continuation.training.batches import Batch
from analytic_continuation.unrolled.bands import BINS, LEVEL, BandFactors, Factors, quality_of
from analytic_continuation.unrolled.network import UnrolledNetwork
from analytic_continuation.unrolled.peaks import TRUE_PROMINENCE, node_peaks, weights_between

FEWEST = 200  # values or peaks of a bin: peaks of a single one weigh all there is, and tell little of others


class Ratios(NamedTuple):
    """Errors of a problem's spectrum over the expected ones: of its values, [NODES], and its peaks, [p] each.

    Of a position the error is the distance to the next peak of the true spectrum; of a weight, the difference from
    the true spectrum's integral between the same ends; a single peak, whose weight is all there is, has none.
    """

    values: Tensor
    positions: Tensor
    weights: Tensor


class Coverage(NamedTuple):
    """Parts that lie inside the bands: of the true values of each problem, [problems], of all positions and weights."""

    values: Tensor
    positions: Tensor
    weights: Tensor


def calibrated(network: UnrolledNetwork, batches: Sequence[Batch]) -> BandFactors:
    """Return factors by which bands hold `LEVEL` of the true values, pointwise, on simulations that trained nothing.

    In each bin of quality a factor is the (n + 1) / n LEVEL quantile over n values, or peaks, of |error| / expected
    error (Lei et al. 2018). Bins with fewer than `FEWEST` of them take the largest factor of all.
    """
    binned: dict[tuple[int, int], list[Ratios]] = {}
    for batch in batches:
        qualities = quality_of(batch.problems.singular[:, 0]).tolist()
        for ratios, quality in zip(_ratios(network, batch), qualities, strict=True):
            binned.setdefault((int(batch.problems.is_even), quality), []).append(ratios)
    kinds = zip(*(zip(*rows, strict=True) for rows in binned.values()), strict=True)
    return BandFactors(*(_factors(dict(zip(binned, kind, strict=True))) for kind in kinds))


def _factors(binned: dict[tuple[int, int], Sequence[Tensor]]) -> Tensor:
    """Return the quantile of each bin; of those with few ratios the largest one, or that of all if none has many."""
    ratios = {place: torch.cat(list(rows)) for place, rows in binned.items()}
    many = {place: _quantile(values) for place, values in ratios.items() if len(values) >= FEWEST}
    factors = torch.full(BINS, max(many.values()) if many else _quantile(torch.cat(list(ratios.values()))))
    for place, factor in many.items():
        factors[place] = factor
    return factors


def coverage(network: UnrolledNetwork, bands: BandFactors, batches: Sequence[Batch]) -> Coverage:
    """Return which parts of true values and peaks the bands hold."""
    held: list[Ratios] = []
    for batch in batches:
        for ratios, largest in zip(_ratios(network, batch), batch.problems.singular[:, 0].tolist(), strict=True):
            held.append(_held(ratios, bands.of(largest, is_even=batch.problems.is_even)))
    return Coverage(
        torch.stack([ratios.values.mean() for ratios in held]),
        torch.cat([ratios.positions for ratios in held]),
        torch.cat([ratios.weights for ratios in held]),
    )


def _held(ratios: Ratios, factors: Factors) -> Ratios:
    pairs = zip(ratios, factors, strict=True)
    return Ratios(*((found <= torch.tensor(factor, dtype=found.dtype)).double() for found, factor in pairs))


@torch.no_grad()
def _ratios(network: UnrolledNetwork, batch: Batch) -> Iterator[Ratios]:
    found, is_even = network(batch.problems), batch.problems.is_even
    for density, scale, truth in zip(found.density, found.scale, batch.densities, strict=True):
        values = (density - truth).abs() / scale
        exact = truth.double().numpy()
        peaks = node_peaks(density.double().numpy(), scale.double().numpy(), is_even=is_even)
        true_ones = node_peaks(exact, exact, is_even=is_even, prominence=TRUE_PROMINENCE).positions
        distances = np.abs(peaks.positions[:, None] - true_ones).min(axis=1)
        away = np.abs(peaks.weights - weights_between(exact, peaks.edges, is_even=is_even))
        yield Ratios(
            values,
            torch.from_numpy(distances / peaks.position_errors),
            torch.from_numpy(away / peaks.weight_errors)[: len(away) if len(away) > 1 else 0],
        )


def _quantile(ratios: Tensor) -> float:
    rank = min(math.ceil(LEVEL * (len(ratios) + 1)), len(ratios))
    return float(ratios.double().kthvalue(rank).values)
