"""The shortest vector in the convex hull of gradients, found from their Gramian alone.

Only two things about the gradients matter: their lengths d and the cosines R between them, G = D R D. The arithmetic is
done on R, whose entries lie in [-1, 1], so that gradients of very different lengths stay well conditioned.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

EXACT_LIMIT = 8  # 2^8 - 1 = 255 faces are solved in a millisecond; each further objective doubles them
EPS = torch.finfo(torch.float64).eps
CERTIFIED = 8 * EPS  # a residual is a sum of as many products: below this it is rounding alone
STATIONARY = 64 * EPS  # error of (w^T G w) / t^2, above all that of inner products of long gradients


@dataclass(frozen=True, eq=False)
class MinNormSolution:
    """Minimiser of w^T G w over the simplex, with the certificate of its quality.

    weights: [m], float64, nonnegative, sum 1.
    squared_norm: w^T G w, in squared units of the gradients; exactly 0 where float64 cannot tell it from 0: the point
        is Pareto stationary to the precision of the arithmetic.
    residual: largest violation of the optimality conditions (G w)_i >= w^T G w, in [0, 1], no unit; see `min_norm`.
    """

    weights: Tensor
    squared_norm: float
    residual: float


def min_norm(gramian: Tensor, *, tolerance: float = 1e-13, max_iterations: int = 1000) -> MinNormSolution:
    """Minimise w^T G w over the simplex (Désidéri 2012; Sener & Koltun 2018).

    gramian: [m, m], inner products of the objectives' gradients. It is converted to float64 and taken as exact, so
    compute it in float64. A gradient whose square underflows counts as zero. The weights come back on its device.

    Up to EXACT_LIMIT objectives every face of the simplex is solved. Above it Wolfe's algorithm (1976) runs until the
    residual is at most `tolerance`, or returns its best point after `max_iterations`: read the residual.

    With t = sum_j w_j |g_j|, the residual is max_i (w^T G w - (G w)_i)_+ / (t (t + |g_i|)). It is zero at a minimiser
    alone, does not change with a common factor or the order of the gradients, and bounds what is lost:
    w^T G w <= minimum + 2 residual * t (t + t*), where t* is t at the minimiser.

    Raises ValueError where the matrix is no Gramian: not square, not finite, or not symmetric and positive semidefinite
    to half of the digits of its dtype, or of float32 if that has fewer.
    """
    lengths, cosines = _lengths_and_cosines(gramian)
    if not lengths.all():  # a zero gradient is the shortest vector there can be
        return MinNormSolution(weights=_vertex(lengths).to(gramian.device), squared_norm=0.0, residual=0.0)
    if len(lengths) <= EXACT_LIMIT:
        weights = _best_face(lengths, cosines)
    else:
        weights = _wolfe(lengths, cosines, tolerance=tolerance, max_iterations=max_iterations)
    mean_length, relative_norm = _norm(weights, lengths, cosines)
    return MinNormSolution(
        weights=weights.to(gramian.device),
        squared_norm=float(relative_norm * mean_length**2) if relative_norm > STATIONARY else 0.0,
        residual=float(_violations(weights, lengths, cosines).max()),
    )


def _lengths_and_cosines(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of G = D R D, on the CPU in float64: lengths [m] and cosines [m, m] with a diagonal of 1."""
    if gramian.ndim != 2 or gramian.shape[0] != gramian.shape[1] or gramian.shape[0] == 0:
        raise ValueError(f"expected a gramian [m, m] with m >= 1, found shape {list(gramian.shape)}; pass J @ J.T")
    products = gramian.detach().to("cpu", torch.float64)
    if not products.isfinite().all():
        raise ValueError(
            f"expected a finite gramian, found {int((~products.isfinite()).sum())} of {products.numel()} entries not "
            "finite; look for such gradients, or for ones so long that their square overflows (1e154 in float64)"
        )
    if products.diagonal().min() < 0:
        least = float(products.diagonal().min())
        raise ValueError(f"expected squared lengths on the gramian's diagonal, found {least:.3g}; pass J @ J.T")
    precision = torch.finfo(torch.result_type(gramian, 1.0))
    lengths = products.diagonal().sqrt()
    # A gradient whose square underflows counts as zero, though its products with long ones need not vanish.
    divisors = lengths.where(lengths > 0, precision.tiny**0.5)
    cosines = (products / divisors[:, None] / divisors).fill_diagonal_(1)
    # A float64 Gramian is often a float32 one, converted.
    _check_cosines(cosines, tolerance=max(precision.eps, torch.finfo(torch.float32).eps) ** 0.5)
    return lengths, (cosines + cosines.T) / 2


def _check_cosines(cosines: Tensor, *, tolerance: float) -> None:
    asymmetry = float((cosines - cosines.T).abs().max())
    if asymmetry > tolerance:
        raise ValueError(
            f"expected a symmetric gramian, found entries (i, j) and (j, i) that differ by {asymmetry:.3g} |g_i||g_j|; "
            "pass J @ J.T"
        )
    least = float(torch.linalg.eigvalsh(cosines)[0])
    if least < -tolerance:
        raise ValueError(
            f"expected a positive semidefinite gramian, found an eigenvalue of {least:.3g} once its diagonal is scaled "
            "to 1; pass J @ J.T, in float64"
        )


def _vertex(lengths: Tensor) -> Tensor:
    """Put all weight on the shortest gradient: [m]."""
    return torch.nn.functional.one_hot(lengths.argmin(), len(lengths)).to(lengths)


def _shares(weights: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean length t = sum_j w_j |g_j| [...], and the share of each gradient in it [..., m]."""
    parts = weights * lengths
    mean_length = parts.sum(-1)
    return mean_length, parts / mean_length[..., None]


def _norm(weights: Tensor, lengths: Tensor, cosines: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean length t [...], and w^T G w / t^2 [...]: 1 where the gradients agree, 0 where they cancel."""
    mean_length, shares = _shares(weights, lengths)
    return mean_length, (shares @ cosines * shares).sum(-1)


def _violations(weights: Tensor, lengths: Tensor, cosines: Tensor) -> Tensor:
    """(w^T G w - (G w)_i)_+ / (t (t + |g_i|)) of each objective: [..., m]."""
    mean_length, shares = _shares(weights, lengths)
    slopes = shares @ cosines  # (G w)_i / (t |g_i|)
    relative_norm = (slopes * shares).sum(-1, keepdim=True)
    relative_lengths = lengths / (mean_length[..., None] + lengths)
    return ((1 - relative_lengths) * relative_norm - relative_lengths * slopes).clamp(min=0)


def _affine_minimisers(faces: Tensor, lengths: Tensor, cosines: Tensor) -> Tensor:
    """Shortest vector of the affine hull of each face's gradients: weights [faces, m], sum 1, of any sign.

    faces: bool [faces, m], the gradients that span each. Solves R y = λ/d, y·(1/d) = 1 for y = D w on each face, y = 0
    off it; where the gradients of a face are affinely dependent the result is not finite, or holds no correct digit.
    """
    inverse_lengths = (lengths.min() / lengths).where(faces, 0)  # the unit of length is free: the shortest
    system = lengths.new_zeros(len(faces), len(lengths) + 1, len(lengths) + 1)
    system[:, :-1, :-1] = cosines.where(faces[:, :, None] & faces[:, None, :], torch.diag_embed((~faces).to(lengths)))
    system[:, :-1, -1] = inverse_lengths
    system[:, -1, :-1] = inverse_lengths
    unit_sum = lengths.new_zeros(len(faces), len(lengths) + 1)
    unit_sum[:, -1] = 1
    solution, _ = torch.linalg.solve_ex(system, unit_sum)
    lengthwise: Tensor = solution[:, :-1]
    return lengthwise * inverse_lengths


def _ridged(cosines: Tensor, ridge: float) -> Tensor:
    """Cosines of gradients that do not depend on one another, for a violation of the size of `ridge`."""
    return cosines + ridge * torch.eye(len(cosines)).to(cosines)


def _best_face(lengths: Tensor, cosines: Tensor) -> Tensor:
    """Return the affine minimiser of the face that holds the minimiser; enumerates all faces.

    By Carathéodory's theorem some face of affinely independent gradients holds it, so the others may fail. What a face
    gives is forced onto the simplex and judged there, so that no candidate is trusted.
    """
    objectives = torch.arange(len(lengths), device=lengths.device)
    subsets = torch.arange(1, 2 ** len(lengths), device=lengths.device)
    faces = (subsets[:, None] >> objectives) % 2 == 1
    candidates = _affine_minimisers(faces, lengths, _ridged(cosines, 2 * EPS)).clamp(min=0)
    candidates = candidates / candidates.sum(1, keepdim=True)
    candidates = candidates[candidates.isfinite().all(1)]
    residuals = _violations(candidates, lengths, cosines).amax(1)
    certified = residuals <= residuals.min().clamp(min=CERTIFIED)
    # Of the certified, the least norm that rounding can vouch for: two long opposite gradients cancel only to within
    # rounding, which may hide more than the whole length of a third.
    mean_lengths, relative_norms = _norm(candidates, lengths, cosines)
    norms = mean_lengths * (relative_norms.clamp(min=0) + STATIONARY).sqrt()
    return candidates[norms.where(certified, torch.inf).argmin()]


def _wolfe(lengths: Tensor, cosines: Tensor, *, tolerance: float, max_iterations: int) -> Tensor:
    """Let in the gradient that violates optimality most, descend to the minimiser of a face, repeat (Wolfe 1976)."""
    ridged = _ridged(cosines, max(tolerance / 10, CERTIFIED))
    weights = best = _vertex(lengths)
    violations = least_violations = _violations(weights, lengths, cosines)
    for _ in range(max_iterations):
        if least_violations.max() <= tolerance:
            break
        face = weights > 0
        face[violations.argmax()] = True
        weights = _descend(weights, face, lengths, ridged)
        violations = _violations(weights, lengths, cosines)
        if violations.max() < least_violations.max():
            best, least_violations = weights, violations
    return best


def _descend(weights: Tensor, face: Tensor, lengths: Tensor, cosines: Tensor) -> Tensor:
    """Walk from `weights` towards the affine minimiser of `face` [m], dropping each gradient whose weight runs out."""
    while True:
        target = _affine_minimisers(face[None], lengths, cosines)[0]
        if not target.isfinite().all():
            return weights
        if (target >= 0).all():
            return target / target.sum()
        steps = (weights / (weights - target)).where(target < 0, torch.inf)
        face = face.index_fill(0, steps.argmin(), False)  # its weight, rounded, may not end at 0
        weights = (weights + steps.min() * (target - weights)).clamp(min=0).where(face, 0)
        weights = weights / weights.sum()
