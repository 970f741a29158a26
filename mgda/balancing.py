"""From one gradient per objective to one direction that serves them all."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mgda.aggregator import NORMALISATIONS, Aggregator, GradientWeights


@dataclass(frozen=True, eq=False)
class Balance:
    """One direction for all objectives, and how it came about.

    direction: [n]; parameters move against it.
    weights, scales: of every objective by name, in the sense of direction = sum_i weights_i * scales_i * gradients_i.
        Those of an `Aggregator`; of any other callable scales of 1, and the least-squares weights of its direction on
        the gradients. Inactive objectives: weight 0 and scale 1.
    norm: Euclidean length of the direction.
    residual: that of the min-norm problem (see `min_norm`); None where none was solved.
    """

    direction: Tensor
    weights: dict[str, float]
    scales: dict[str, float]
    norm: float
    residual: float | None


def balance(
    gradients: Mapping[str, Tensor],
    *,
    aggregator: Callable[[Tensor], Tensor],
    active: Collection[str] | None = None,
) -> Balance:
    """Balance the `active` objectives (None: all) into one direction.

    gradients: flat gradient [n] of each objective by name.  aggregator: Jacobian [m, n] -> direction [n].

    An objective that is not active leaves the problem altogether: the zero gradient of a bound that is met would take
    the whole min-norm weight and stop the search. Without an active objective the direction is zero.

    Raises ValueError for gradients that are not flat and of one size, or names in `active` without a gradient, and
    FloatingPointError for entries that are not finite in an active gradient or in the aggregator's direction.
    """
    _check_names_and_shapes(gradients, active)
    names = [name for name in gradients if active is None or name in active]
    if names:
        jacobian = torch.stack([gradients[name].detach() for name in names])
        _check_finite(dict(zip(names, jacobian, strict=True)))
        weighed, direction = _aggregate(jacobian, names, aggregator)
    else:
        weighed = GradientWeights(weights=torch.zeros(0), scales=torch.zeros(0))
        direction = torch.zeros_like(next(iter(gradients.values())))
    return Balance(
        direction=direction,
        weights=dict.fromkeys(gradients, 0.0) | dict(zip(names, weighed.weights.tolist(), strict=True)),
        scales=dict.fromkeys(gradients, 1.0) | dict(zip(names, weighed.scales.tolist(), strict=True)),
        norm=float(direction.double().norm()),
        residual=weighed.residual,
    )


def _aggregate(
    jacobian: Tensor, names: Sequence[str], aggregator: Callable[[Tensor], Tensor]
) -> tuple[GradientWeights, Tensor]:
    """Return how the rows [m, n] were weighed, and their direction [n]."""
    weighed = aggregator.weigh(jacobian, names) if isinstance(aggregator, Aggregator) else None
    direction = aggregator(jacobian).detach() if weighed is None else weighed.direction(jacobian)
    if direction.shape != jacobian.shape[1:]:
        raise ValueError(
            f"expected the aggregator to give a direction {list(jacobian.shape[1:])}, found {list(direction.shape)}; "
            "pass a callable from a Jacobian [m, n] to [n]"
        )
    _check_finite({"(direction of the aggregator)": direction})
    if weighed is None:
        weighed = GradientWeights(weights=_weights_of(direction, jacobian), scales=torch.ones(len(jacobian)))
    return weighed, direction


def _weights_of(direction: Tensor, jacobian: Tensor) -> Tensor:
    """Least-squares weights [m], on the CPU in float64, of a direction [n] on the rows of `jacobian` [m, n].

    Rows that depend on one another share the weight of least norm, taken on rows of length 1.
    """
    rows = jacobian.to("cpu", torch.float64)
    scales = NORMALISATIONS["l2"](torch.linalg.vector_norm(rows, dim=1))
    target = direction.to("cpu", torch.float64)[:, None]
    # gelsd: rows may depend on one another, told apart here by what the gradients' dtype resolves. gelsy allows it too,
    # but torch 2.13 hands it memory that was not set, and now and then its weights are zero.
    rank_tolerance = torch.finfo(jacobian.dtype).eps
    unit_rows = scales[:, None] * rows
    solution: Tensor = torch.linalg.lstsq(unit_rows.T, target, rcond=rank_tolerance, driver="gelsd").solution
    return solution[:, 0] * scales


def _check_names_and_shapes(gradients: Mapping[str, Tensor], active: Collection[str] | None) -> None:
    shapes = {name: list(gradient.shape) for name, gradient in gradients.items()}
    if not shapes:
        raise ValueError(
            "expected at least one objective, found no gradients; pass a mapping from name to gradient [n]"
        )
    if any(len(shape) != 1 for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) != 1:
        raise ValueError(f"expected flat gradients [n] of one size, found {shapes}; flatten and join the parameters")
    unknown = sorted(set(active or ()) - shapes.keys())
    if unknown:
        raise ValueError(f"expected active objectives among {list(shapes)}, found {unknown}; pass a gradient for each")


def _check_finite(vectors: Mapping[str, Tensor]) -> None:
    """One message for all objectives, since they often fail together."""
    counts = {name: int((~vector.isfinite()).sum()) for name, vector in vectors.items()}
    found = [f"{count} of {vectors[name].numel()} entries of {name}" for name, count in counts.items() if count]
    if found:
        raise FloatingPointError(
            f"expected finite gradients, found {', '.join(found)} not finite; look for an overflow there, or lower the "
            "learning rate"
        )
