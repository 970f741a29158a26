"""Calibration of the bands on simulations that neither trained nor judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from analytic_continuation.training.batches import Batch, random_batch
from analytic_continuation.training.network_training import CALIBRATES
from analytic_continuation.unrolled.bands import LEVEL, SIGNALS, BandFactors, quality_of
from analytic_continuation.unrolled.network import UnrolledNetwork


@torch.no_grad()
def calibrated(network: UnrolledNetwork, batches: Sequence[Batch]) -> BandFactors:
    """Return factors by which bands hold `LEVEL` of the true values, pointwise, on simulations that trained nothing.

    In each bin of quality the factor is the (n + 1) / n LEVEL quantile over n true values of |error| / expected error
    (Lei et al. 2018). Bins without simulations take the largest factor of all.
    """
    ratios: dict[tuple[int, int], list[Tensor]] = {}
    for batch in batches:
        found = network(batch.problems)
        ratio = (found.density - batch.densities).abs() / found.scale
        for row, quality in zip(ratio, quality_of(batch.problems.singular[:, 0]).tolist(), strict=True):
            ratios.setdefault((int(batch.problems.is_even), quality), []).append(row)
    factors = torch.full((2, len(SIGNALS) + 1), math.nan)
    for place, rows in ratios.items():
        values = torch.cat(rows).double()
        rank = min(math.ceil(LEVEL * (len(values) + 1)), len(values))
        factors[place] = float(values.kthvalue(rank).values)
    return BandFactors(torch.where(factors.isnan(), factors.nan_to_num(0).max(), factors))


@torch.no_grad()
def coverage(network: UnrolledNetwork, bands: BandFactors, batches: Sequence[Batch]) -> Tensor:
    """Return the part of the true values that lies inside the band, of every problem of batches, in one row."""
    held = []
    for batch in batches:
        found, is_even = network(batch.problems), batch.problems.is_even
        factors = [bands.of(largest, is_even=is_even) for largest in batch.problems.singular[:, 0].tolist()]
        inside = (found.density - batch.densities).abs() <= torch.tensor(factors)[:, None] * found.scale
        held.append(inside.double().mean(dim=1))
    return torch.cat(held)


def calibration_batches(count: int, size: int, seed: int) -> list[Batch]:
    """Simulate batches that neither trained nor judged."""
    return [random_batch(size, (seed, CALIBRATES, number)) for number in range(count)]
