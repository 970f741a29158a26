"""Multiple-gradient descent: the shortest vector of the convex hull of the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mgda.aggregator import NORMALISATIONS, GradientWeights, PreferenceAggregator, rows_of
from mgda.min_norm_solver import min_norm


@dataclass(frozen=True, kw_only=True)
class MGDA(PreferenceAggregator):
    """Min-norm direction of the gradients (Désidéri 2012; Sener & Koltun 2018).

    normalisation: "none", or "l2", which scales every gradient to length 1, so that a short one does not take all.
    preferences: the ratio in which objectives fall, by name.

    The direction is d = sum_i w_i s_i g_i, with w solved on the very gradients s_i g_i that it sums: moving against it
    raises no objective, whatever the scales. It has the Jacobian's dtype and device, and is exactly zero at a point
    that is Pareto stationary in float64.

    Preferences p divide the scales, s_i = 1 / p_i (or 1 / (p_i |g_i|)). By the optimality of w, with c = |d|^2 common
    to all, an objective falls at the rate <g_i, d> >= c p_i, and at exactly c p_i where w_i > 0: d maximises the least
    rate per preference (the steepest descent of Fliege & Svaiter 2000, of the objectives f_i / p_i). So without
    normalisation, and while all weights are positive, gradient flow moves the values along the straight line f(0) - t p
    to the point where it meets the front. With "l2" the rates are in the ratio of p_i |g_i|.
    """

    def weigh(self, jacobian: Tensor, names: Sequence[str] = ()) -> GradientWeights:
        """The min-norm weights; raises ValueError also where `jacobian` is not finite when squared in float64."""
        rows = rows_of(jacobian)
        gramian = rows @ rows.T
        scales = NORMALISATIONS[self.normalisation](gramian.diagonal().sqrt())
        scales = scales / self.preferred(rows, names)
        solution = min_norm(scales[:, None] * gramian * scales)
        return GradientWeights(
            weights=solution.weights,
            scales=scales,
            residual=solution.residual,
            stationary=solution.squared_norm == 0,
        )
