"""Laws of the learned spectrum, by the network that is shipped."""

import numpy as np
import pytest

from analytic_continuation import GreensFunction, Kernel, centred_grid, continue_spectra, continue_spectrum, linear_grid
from analytic_continuation.grids import weights

BETA, COUNT = 20.0, 10
GRID = linear_grid(-8, 8, 401)


def peak(omega, centre, width):
    return np.exp(-0.5 * ((omega - centre) / width) ** 2) / width / np.sqrt(2 * np.pi)


def truth(omega, kernel):
    if kernel.is_bosonic:
        return 2 * peak(omega, 0, 1.0) * 0.5 + 0.5 * peak(omega, 3.0, 0.6)
    return 0.6 * peak(omega, 1.0, 0.5) + 0.4 * peak(omega, -2.0, 0.8)


def measured(kernel=Kernel.FERMIONIC_MATSUBARA, noise=1e-4, seed=0):
    grid = linear_grid(0, 8, 4001) if kernel.is_bosonic else linear_grid(-8, 8, 4001)
    odd = 0 if kernel.is_bosonic else 1
    points = np.linspace(0, BETA, 40) if kernel.is_in_time else np.pi / BETA * (2 * np.arange(COUNT) + odd)
    values = kernel.matrix(points, grid, BETA) @ (truth(grid, kernel) * weights(grid))
    errors = np.full(len(points), noise * np.abs(values).max())
    generator = np.random.default_rng(seed)
    draw = generator.normal(size=len(points))
    if np.iscomplexobj(values):
        draw = draw + 1j * generator.normal(size=len(points))
    return GreensFunction(points, values + errors * draw, errors, kernel, BETA)


def distance(spectrum, kernel):
    return np.sum(np.abs(spectrum.values - truth(spectrum.omega, kernel)) * weights(spectrum.omega))


@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_a_spectrum_is_not_negative_has_its_norm_and_says_how_well_it_fits(kernel, noise):
    grid = linear_grid(0, 8, 201) if kernel.is_bosonic else GRID
    found = continue_spectrum(measured(kernel, noise), grid, norm=1.0)
    assert found.values.min() >= 0
    assert found.norm == pytest.approx(1, abs=5e-3)
    assert 0 <= found.chi_squared_per_point < np.inf
    assert (found.lower <= found.values).all()
    assert (found.values <= found.upper).all()
    assert found.lower.min() >= 0
    assert max(found.details["condition_numbers"]) <= 1e6
    assert found.details["kernel_condition"] > 1e6


@pytest.mark.parametrize("kernel", list(Kernel))
def test_two_peaks_are_found_from_precise_data(kernel):
    grid = linear_grid(0, 8, 201) if kernel.is_bosonic else GRID
    assert distance(continue_spectrum(measured(kernel, 1e-5), grid, norm=1.0), kernel) < 0.25


def test_a_permutation_of_the_data_changes_nothing():
    green = measured()
    order = np.random.default_rng(1).permutation(COUNT)
    permuted = GreensFunction(green.points[order], green.values[order], green.errors[order], green.kernel, BETA)
    first, second = (continue_spectrum(each, GRID, norm=1.0) for each in (green, permuted))
    np.testing.assert_allclose(second.values, first.values, atol=1e-4 * first.values.max())


@pytest.mark.parametrize("norm", [None, 1.0])
def test_a_factor_on_the_data_scales_the_spectrum_and_its_band(norm):
    green = measured()
    scaled = GreensFunction(green.points, 7 * green.values, 7 * green.errors, green.kernel, BETA)
    first = continue_spectrum(green, GRID, norm=norm)
    second = continue_spectrum(scaled, GRID, norm=None if norm is None else 7 * norm)
    for name in ("values", "lower", "upper"):
        np.testing.assert_allclose(getattr(second, name) / 7, getattr(first, name), atol=1e-3 * first.values.max())


def test_other_units_give_the_same_spectrum_in_them():
    green, unit = measured(), 27.2
    points, values, errors = green.points * unit, green.values / unit, green.errors / unit
    other = GreensFunction(points, values, errors, green.kernel, BETA / unit)
    first = continue_spectrum(green, GRID, norm=1.0)
    second = continue_spectrum(other, GRID * unit, norm=1.0)
    np.testing.assert_allclose(second.values * unit, first.values, atol=1e-3 * first.values.max())


def test_many_at_once_are_the_same_as_one_by_one():
    greens = [measured(seed=seed) for seed in range(3)]
    shared = [GreensFunction(each.points, each.values, greens[0].errors, each.kernel, BETA) for each in greens]
    for found, green in zip(continue_spectra(shared, GRID, norm=1.0), shared, strict=True):
        alone = continue_spectrum(green, GRID, norm=1.0)
        np.testing.assert_allclose(found.values, alone.values, atol=1e-4 * alone.values.max())
        np.testing.assert_allclose(found.upper, alone.upper, atol=1e-3 * alone.upper.max())
    with pytest.raises(ValueError, match="kernel and beta of the first, found others in 1"):
        continue_spectra([greens[0], measured(noise=1e-3)], GRID)


def test_a_finer_grid_shows_the_same_spectrum():
    coarse, fine = (continue_spectrum(measured(), grid, norm=1.0) for grid in (GRID, centred_grid(-8, 8, 1601)))
    np.testing.assert_allclose(np.interp(GRID, fine.omega, fine.values), coarse.values, atol=5e-3 * coarse.values.max())


def test_maximum_entropy_on_the_learned_spectrum_fits_the_data():
    found = continue_spectrum(measured(), GRID, "maxent_neural", norm=1.0)
    assert found.chi_squared_per_point == pytest.approx(1, rel=0.25)
    assert (found.method, found.details["default"]) == ("maxent_neural", "learned")
    assert distance(found, Kernel.FERMIONIC_MATSUBARA) < 0.25


def test_a_model_that_is_none_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no shipped model"):
        continue_spectrum(measured(), GRID, model=path)
    path.write_text("a model")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        continue_spectrum(measured(), GRID, model=path)


def test_a_window_that_is_far_from_the_temperature_is_refused_in_a_line():
    with pytest.raises(ValueError, match=r"no finite spectrum in a window of -1e[+]100 .. 1e[+]100 at beta = 20"):
        continue_spectrum(measured(), linear_grid(-1e100, 1e100, 801), norm=1.0)


@pytest.mark.parametrize("kernel", list(Kernel))
def test_peaks_lie_in_their_bands_in_order_and_their_weights_are_the_norm(kernel):
    grid = linear_grid(0, 8, 201) if kernel.is_bosonic else GRID
    found = continue_spectrum(measured(kernel, 1e-5), grid, norm=2.0 if kernel.is_bosonic else 1.0)
    positions = [peak.position for peak in found.peaks]
    assert positions == sorted(positions)
    assert sum(peak.weight for peak in found.peaks) == pytest.approx(found.norm, rel=1e-2)
    for each in found.peaks:
        assert grid[0] <= each.position_band[0] <= each.position <= each.position_band[1] <= grid[-1]
        assert each.ends[0] <= each.position <= each.ends[1]
        inside = (grid >= each.ends[0]) & (grid <= each.ends[1])
        assert np.sum((found.values * weights(grid))[inside]) == pytest.approx(each.weight, abs=0.02)
        assert 0 <= each.weight_band[0] <= each.weight <= each.weight_band[1]
    for expected in [3.0] if kernel.is_bosonic else [-2.0, 1.0]:
        assert min(abs(position - expected) for position in positions) < 0.3


def test_methods_without_bands_tell_no_peaks():
    assert continue_spectrum(measured(), GRID, "maxent", norm=1.0).peaks == ()
    assert continue_spectrum(measured(), GRID, norm=1.0, positive=False).peaks == ()


def test_noise_does_not_tear_the_learned_default_model_apart():
    green = measured(noise=1e-2, seed=3)
    found, learned = continue_spectrum(green, GRID, "maxent_neural", norm=1.0), continue_spectrum(green, GRID, norm=1.0)
    assert found.details["alpha"] >= 300
    assert distance(found, green.kernel) < distance(learned, green.kernel) + 0.03
