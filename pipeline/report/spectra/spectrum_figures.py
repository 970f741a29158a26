"""Figures of a continuation: the spectrum in its band, the data beside what the spectrum would measure, residuals."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.continuation.spectrum_file import SpectrumFile
from pipeline.presentation.style import (
    BLUE,
    GREY,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    add_legend,
    make_axes,
    make_picture,
)

FEWEST_ON_LOG_AXIS = 12  # frequencies: fewer are told apart on a linear one
MARKER = 3.5  # points

Part = tuple[str, str, NDArray[np.float64], NDArray[np.float64]]
"""Name, colour, values and back-transform of a real or an imaginary part."""


@rc_context(STYLE)
def spectrum_pictures(found: SpectrumFile) -> list[Picture]:
    """Draw the spectrum, data and back-transform, and the residuals."""
    return [_spectrum(found), _data(found), _residuals(found)]


def label_of(found: SpectrumFile) -> str:
    """Return what the spectrum is called, by what was measured."""
    if found.settings.green.self_energy:
        return r"$-\mathrm{Im}\,\Sigma(\omega)/\pi$"
    if _is_bosonic(found):
        return r"$A(\omega) = 2\,\mathrm{Im}\,\chi(\omega)/(\pi\omega)$"
    return r"$A(\omega)$"


def measured_label(found: SpectrumFile) -> str:
    """Return what was measured, as mathematics."""
    letter = r"\Sigma" if found.settings.green.self_energy else r"\chi" if _is_bosonic(found) else "G"
    argument = r"\tau" if _is_in_time(found) else r"i\nu_n" if _is_bosonic(found) else r"i\omega_n"
    return f"{letter}({argument})"


def _is_bosonic(found: SpectrumFile) -> bool:
    return str(found.settings.green.kernel).startswith("bosonic")


def _is_in_time(found: SpectrumFile) -> bool:
    return str(found.settings.green.kernel).endswith("time")


def _spectrum(found: SpectrumFile) -> Picture:
    figure, axes = make_axes(r"$\omega$", label_of(found))
    spectrum = found.spectrum
    omega, values = np.array(spectrum.omega), np.array(spectrum.values)
    if spectrum.lower is not None and spectrum.upper is not None:
        axes.fill_between(omega, spectrum.lower, spectrum.upper, color=SKY, alpha=0.4, linewidth=0, label="90 % band")
    axes.plot(omega, values, color=BLUE, label=found.method)
    axes.set_xlim(omega[0], omega[-1])
    axes.set_ylim(bottom=min(0.0, float(values.min())))
    if omega[0] < 0 < omega[-1]:
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    has_band = spectrum.lower is not None
    if has_band:
        add_legend(figure)
    band = "Shaded: the 90 % band at each frequency. " if has_band else "The method gives no band. "
    peak = f"Its highest peak is {values.max():.3g} at {omega[values.argmax()]:.3g}."
    caption = f"{band}{peak} Its integral is {found.norm:.4g}."
    return make_picture("spectrum", "Spectrum", caption, f"The spectrum by {found.method}. {peak}", figure)


def _parts(found: SpectrumFile) -> list[Part]:
    data = found.data
    if data.imaginary is None or data.back_imaginary is None:
        return [("", BLUE, np.array(data.real), np.array(data.back_real))]
    return [
        ("real part", BLUE, np.array(data.real), np.array(data.back_real)),
        ("imaginary part", VERMILLION, np.array(data.imaginary), np.array(data.back_imaginary)),
    ]


def _along(axes: Axes, found: SpectrumFile) -> NDArray[np.float64]:
    """Label the data's axis, logarithmic for many positive frequencies; return the points."""
    points = np.array(found.data.points)
    axes.set_xlabel(r"$\tau$" if _is_in_time(found) else r"$\nu_n$" if _is_bosonic(found) else r"$\omega_n$")
    if not _is_in_time(found) and points.min() > 0 and len(points) >= FEWEST_ON_LOG_AXIS:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return points


def _data(found: SpectrumFile) -> Picture:
    figure, axes = make_axes("", f"${measured_label(found)}$")
    points, errors = _along(axes, found), np.array(found.data.errors)
    order = np.argsort(points)
    for name, colour, values, back in _parts(found):
        axes.errorbar(points, values, errors, color=colour, fmt="o", markersize=MARKER, linewidth=1, capsize=2)
        axes.plot(points[order], back[order], color=colour, label=name)
    if found.data.imaginary is not None:
        add_legend(figure)
    typical = float(np.median(errors))
    caption = (
        "Points: the data with their error bars, which may be smaller than the points (half of them below "
        f"{typical:.2g}). Lines: what the spectrum would measure. chi^2 / N is {found.chi_squared_per_point:.3g}."
    )
    return make_picture("spectrum-data", "Data and back-transform", caption, caption, figure)


def _residuals(found: SpectrumFile) -> Picture:
    figure, axes = make_axes("", "(data - spectrum) / error bar")
    points, residuals = _along(axes, found), np.array(found.data.residuals)
    parts = _parts(found)
    for (name, colour, _, _), part in zip(parts, np.split(residuals, len(parts)), strict=True):
        axes.plot(points, part, "o", color=colour, markersize=MARKER, label=name)
    axes.axhspan(-1, 1, color=GREY, alpha=0.12, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.8)
    reach = max(3.0, 1.1 * float(np.abs(residuals).max()))
    axes.set_ylim(-reach, reach)
    if len(parts) > 1:
        add_legend(figure)
    outside = int((np.abs(residuals) > 2).sum())
    caption = (
        f"Grey: one error bar. {outside} of {len(residuals)} residuals are above two error bars; where these are right "
        "and independent, about 5 % are."
    )
    return make_picture("spectrum-residuals", "Residuals", caption, caption, figure)
