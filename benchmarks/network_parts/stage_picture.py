"""What each stage of the learned sequence does to a spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analytic_continuation import GreensFunction, Kernel, continue_spectrum, linear_grid
from analytic_continuation.grids import weights
from analytic_continuation.training.batches import Batch
from analytic_continuation.training.network_training import l1_error
from analytic_continuation.unrolled.model_files import ContinuationModel
from analytic_continuation.unrolled.prediction import stage_spectra
from pipeline.presentation.style import BLACK, BLUE, GREY, ORANGE, Picture, add_legend, make_picture

BETA, POINTS, NOISE = 10.0, 32, 1e-3
PEAKS = ((-2.5, 0.7, 0.4), (0.2, 0.25, 0.2), (2.5, 0.8, 0.4))  # centre, width, weight
PANEL = (3.1, 2.2)  # inches
COLUMNS = 3

Array = NDArray[np.float64]


def draw_stages(model: ContinuationModel, generator: np.random.Generator) -> Picture:
    """Draw three peaks after each stage, beside the stage before, with rho and the condition number."""
    grid = linear_grid(-8, 8, 401)
    truth, green = _example(grid, generator)
    stages = stage_spectra(model, green, grid, 1.0, is_known=True)
    details = continue_spectrum(green, grid, norm=1.0).details
    errors = np.abs(stages - truth) @ weights(grid)
    before = np.concatenate([np.full((1, len(grid)), 1 / (grid[-1] - grid[0])), stages[:-1]])
    rows = -(-len(stages) // COLUMNS)
    figure = Figure(figsize=(PANEL[0] * COLUMNS, PANEL[1] * rows), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
    for number, axes in enumerate(panels.flat[: len(stages)]):
        axes.fill_between(grid, truth, color=GREY, alpha=0.2, linewidth=0)
        axes.plot(grid, truth, color=BLACK, linestyle=":", linewidth=0.9, label="truth")
        axes.plot(grid, before[number], color=ORANGE, linewidth=0.9, label="stage before")
        axes.plot(grid, stages[number], color=BLUE, linewidth=1.3, label="after the stage")
        numbers = f"rho {details['rho'][number]:.1e}, condition {details['condition_numbers'][number]:.0e}"
        axes.set_title(f"stage {number + 1}: {numbers},\nL1 error {errors[number]:.3f}", fontsize=8)
    _label(panels, len(stages), 1.25 * float(truth.max()))
    add_legend(figure, figure.axes[0].get_legend_handles_labels()[0])
    told = ", ".join(f"{error:.3f}" for error in errors)
    alt = f"A spectrum of three peaks after each stage, noise {NOISE:g}. L1 errors: {told}."
    return make_picture("continuation_network-stages", "Stages", "", alt, figure, is_wide=True)


def _example(grid: Array, generator: np.random.Generator) -> tuple[Array, GreensFunction]:
    """Return a spectrum of three peaks on a grid, and its data."""
    truth = np.zeros(len(grid))
    for centre, width, part in PEAKS:
        truth += part / width / np.sqrt(2 * np.pi) * np.exp(-0.5 * ((grid - centre) / width) ** 2)
    points = np.pi / BETA * (2 * np.arange(POINTS) + 1)
    exact = Kernel.FERMIONIC_MATSUBARA.matrix(points, grid, BETA) @ (truth * weights(grid))
    errors = np.full(POINTS, NOISE * np.abs(exact).max())
    noise = generator.normal(size=(2, POINTS)) * errors
    return truth, GreensFunction(points, exact + noise[0] + 1j * noise[1], errors, Kernel.FERMIONIC_MATSUBARA, BETA)


def _label(panels: NDArray[Any], count: int, highest: float) -> None:
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    panels[0, 0].set(xlim=(-6, 6), ylim=(0, highest))
    for axes in panels[-1]:
        axes.set_xlabel(r"$\omega$")
    for axes in panels[:, 0]:
        axes.set_ylabel(r"$A(\omega)$")


@torch.no_grad()
def stage_errors(model: ContinuationModel, batches: Sequence[Batch]) -> list[tuple[int, float, float]]:
    """Return number, mean L1 error and median log10 rho of each stage."""
    errors, logs = [], []
    for batch in batches:
        found = model.network(batch.problems)
        errors.append(torch.stack([l1_error(density, batch.densities) for density in found.densities]))
        logs.append(found.log_rho.T)
    means, medians = torch.cat(errors, dim=1).mean(dim=1), torch.cat(logs, dim=1).median(dim=1).values
    return [(n, *pair) for n, pair in enumerate(zip(means.tolist(), medians.tolist(), strict=True), start=1)]
