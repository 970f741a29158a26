"""From one gradient per objective to one direction that serves them all."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mgda.min_norm import MinNormSolution, min_norm

# Lengths of the gradients [m] -> what each gradient is multiplied by [m].
NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.ones_like,
    "l2": lambda lengths: lengths.reciprocal().where(lengths > 0, 1),
}


@dataclass(frozen=True, kw_only=True)
class MGDA:
    """Multiple-gradient descent: Jacobian [m, n] -> min-norm direction [n] (Désidéri 2012; Sener & Koltun 2018).

    normalisation: "none", or "l2", which scales every gradient to length 1, so that a short one does not take all.

    The direction is sum_i w_i s_i g_i, with w solved on the very gradients s_i g_i that it sums: moving against it
    raises no objective, whatever the scales. It has the Jacobian's dtype and device, and is exactly zero at a point
    that is Pareto stationary in float64. The call is that of torchjd.aggregation: either can stand in for the other.
    """

    normalisation: str = "none"

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(
                f"expected normalisation to be one of {list(NORMALISATIONS)}, found {self.normalisation!r}"
            )

    def __call__(self, jacobian: Tensor) -> Tensor:
        """The direction [n] that balances the rows of `jacobian` [m, n]."""
        return _direction(jacobian, *self.solve(jacobian))

    def solve(self, jacobian: Tensor) -> tuple[Tensor, MinNormSolution]:
        """Scales s [m] of the rows of `jacobian` [m, n], and the min-norm problem of the rows s_i g_i, solved.

        Raises ValueError where `jacobian` is not a floating-point matrix or not finite when squared in float64.
        """
        if jacobian.ndim != 2 or not jacobian.is_floating_point():
            raise ValueError(
                f"expected a floating-point Jacobian [m, n], found {jacobian.dtype} {list(jacobian.shape)}; "
                "stack one flat gradient per objective"
            )
        rows = jacobian.detach().double()
        gramian = rows @ rows.T
        scales = NORMALISATIONS[self.normalisation](gramian.diagonal().sqrt())
        return scales, min_norm(scales[:, None] * gramian * scales)


@dataclass(frozen=True, eq=False)
class Balance:
    """One direction for all objectives, and how it came about.

    direction: [n]; parameters move against it.
    weights, scales: of every objective by name, in the sense of direction = sum_i weights_i * scales_i * gradients_i.
        MGDA: weights on the simplex of the active objectives, and the normalisation. Other aggregators: scales of 1,
        and the least-squares weights of their direction on the gradients. Inactive objectives: weight 0 and scale 1.
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
    if not names:
        direction = torch.zeros_like(next(iter(gradients.values())))
        weights = scales = torch.zeros(0)
        residual = None
    else:
        jacobian = torch.stack([gradients[name].detach() for name in names])
        _check_finite(dict(zip(names, jacobian, strict=True)))
        direction, weights, scales, residual = _aggregate(jacobian, aggregator)
    return Balance(
        direction=direction,
        weights=dict.fromkeys(gradients, 0.0) | dict(zip(names, weights.tolist(), strict=True)),
        scales=dict.fromkeys(gradients, 1.0) | dict(zip(names, scales.tolist(), strict=True)),
        norm=float(direction.double().norm()),
        residual=residual,
    )


def _aggregate(jacobian: Tensor, aggregator: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor, float | None]:
    """Direction [n], weights [m], scales [m] and residual."""
    if isinstance(aggregator, MGDA):
        scales, solution = aggregator.solve(jacobian)
        return _direction(jacobian, scales, solution), solution.weights, scales, solution.residual
    direction = aggregator(jacobian)
    if direction.shape != jacobian.shape[1:]:
        raise ValueError(
            f"expected the aggregator to give a direction {list(jacobian.shape[1:])}, found {list(direction.shape)}; "
            "pass a callable from a Jacobian [m, n] to [n]"
        )
    direction = direction.detach()
    _check_finite({"(direction of the aggregator)": direction})
    return direction, _weights_of(direction, jacobian), torch.ones(len(jacobian)), None


def _direction(jacobian: Tensor, scales: Tensor, solution: MinNormSolution) -> Tensor:
    """sum_i w_i s_i g_i, summed in float64, in the dtype of `jacobian`; zero where that is all rounding."""
    if solution.squared_norm == 0:
        return torch.zeros_like(jacobian[0])
    return ((solution.weights * scales) @ jacobian.detach().double()).to(jacobian.dtype)


def _weights_of(direction: Tensor, jacobian: Tensor) -> Tensor:
    """Least-squares weights [m], on the CPU in float64, of a direction [n] on the rows of `jacobian` [m, n].

    Rows that depend on one another share the weight of least norm, taken on rows of length 1.
    """
    rows = jacobian.to("cpu", torch.float64)
    scales = NORMALISATIONS["l2"](torch.linalg.vector_norm(rows, dim=1))
    target = direction.to("cpu", torch.float64)[:, None]
    # gelsy: the LAPACK driver that allows dependent rows, told apart here by what the gradients' dtype resolves
    rank_tolerance = torch.finfo(jacobian.dtype).eps
    unit_rows = scales[:, None] * rows
    solution: Tensor = torch.linalg.lstsq(unit_rows.T, target, rcond=rank_tolerance, driver="gelsy").solution
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
