"""Rules that choose the weight of the entropy, alpha."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, brentq, curve_fit

from analytic_continuation.maximum_entropy.solver import EntropySolution, solve_entropy
from analytic_continuation.whitening import WhitenedProblem

FIT_POSITION = 2.5  # of the kink, in widths of the sigmoid before its middle; 2 to 2.5 are usual (Kaufmann & Held 2023)
STEPS_A_DECADE = 3
DECADES = 14
TOLERANCE = 1e-3  # of log10 alpha

Path = list[EntropySolution]


def maximum_entropy(
    problem: WhitenedProblem, default: NDArray[np.float64], rule: str = "chi2kink", *, least_alpha: float = 0.0
) -> EntropySolution:
    """Return the spectrum of maximum entropy at the alpha that a rule chooses.

    problem: whitened data.  default: integrals of the default model over the cells, [m].
    rule: "chi2kink", where log chi^2 leaves its plateau (Bergeron & Tremblay 2016; Kaufmann & Held 2023); "classic",
    the most probable alpha (Gull 1989); "historic", where chi^2 is the number of data, or as near to it as it gets.
    least_alpha: a smaller alpha is not taken, whatever the rule says.
    Raises ValueError where Newton's method does not converge.
    """
    path = _path(problem, default)
    alpha = max(RULES[rule](problem, default, path), least_alpha)
    nearest = min(path, key=lambda found: abs(np.log(found.alpha / alpha)))
    return solve_entropy(problem, default, alpha, start=nearest.dual * nearest.alpha / alpha)


def _path(problem: WhitenedProblem, default: NDArray[np.float64]) -> Path:
    """Solutions from an alpha that keeps the default model down to one that no longer moves chi^2."""
    matrix = problem.singular[:, None] * problem.right
    curvature = float(np.linalg.eigvalsh((matrix * default) @ matrix.T)[-1])
    alpha, path = 10 * curvature, Path()
    for _ in range(STEPS_A_DECADE * DECADES):
        start = path[-1].dual * path[-1].alpha / alpha if path else None
        path.append(solve_entropy(problem, default, alpha, start=start))
        if _is_flat(path):
            break
        alpha /= 10 ** (1 / STEPS_A_DECADE)
    return path


def _is_flat(path: Path) -> bool:
    """True where chi^2 fell by less than 2 % over the last two decades, below the number of good data."""
    back = 2 * STEPS_A_DECADE
    if len(path) <= back:
        return False
    last, before = path[-1], path[-1 - back]
    return last.alpha < 1e-2 * last.good and last.chi_squared > 0.98 * before.chi_squared


def _chi2kink(problem: WhitenedProblem, default: NDArray[np.float64], path: Path) -> float:
    """Fit log10 chi^2 by a sigmoid of log10 alpha."""
    x = np.log10([found.alpha for found in path])
    y = np.log10([max(found.chi_squared, 1e-300) for found in path])
    middle = x[int(np.argmin(np.abs(y - (y[0] + y[-1]) / 2)))]
    start = (y.min(), np.ptp(y) + 1e-3, middle, 1.0)
    try:
        fitted, _ = curve_fit(_sigmoid, x, y, p0=start, maxfev=5000)
    except (RuntimeError, OptimizeWarning):
        fitted = np.array(start)
    # outside the path nothing was solved; a chi^2 without a plateau has its kink at the end
    return float(10 ** np.clip(fitted[2] - FIT_POSITION / max(fitted[3], 1e-3), x.min(), x.max()))


def _sigmoid(x: NDArray[np.float64], low: float, height: float, middle: float, slope: float) -> NDArray[np.float64]:
    return low + height / (1 + np.exp(np.clip(-slope * (x - middle), -200, 200)))


def _classic(problem: WhitenedProblem, default: NDArray[np.float64], path: Path) -> float:
    return _crossing(problem, default, path, lambda found: -2 * found.alpha * found.entropy - found.good)


def _historic(problem: WhitenedProblem, default: NDArray[np.float64], path: Path) -> float:
    return _crossing(problem, default, path, lambda found: problem.count - found.chi_squared)


def _crossing(
    problem: WhitenedProblem, default: NDArray[np.float64], path: Path, value: Callable[[EntropySolution], float]
) -> float:
    """The smallest alpha of the path where `value` changes its sign; where it does not, the end nearest to 0."""
    values = [value(found) for found in path]
    for after in reversed(range(1, len(path))):
        if (values[after - 1] > 0) != (values[after] > 0):
            near = path[after]

            def at(logarithm: float, near: EntropySolution = near) -> float:
                alpha = float(10**logarithm)
                return value(solve_entropy(problem, default, alpha, start=near.dual * near.alpha / alpha))

            return float(10 ** brentq(at, np.log10(near.alpha), np.log10(path[after - 1].alpha), xtol=TOLERANCE))
    return path[int(np.argmin(np.abs(values)))].alpha


RULES: Mapping[str, Callable[[WhitenedProblem, NDArray[np.float64], Path], float]] = MappingProxyType(
    {"chi2kink": _chi2kink, "classic": _classic, "historic": _historic}
)
