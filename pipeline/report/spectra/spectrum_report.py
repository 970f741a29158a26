"""The page of a continued spectrum: figures, what the fit says, and all settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.continuation.spectrum_file import SPECTRUM_TABLE, SpectrumFile, read_spectrum
from pipeline.report.html import page, write_page
from pipeline.report.spectra.spectrum_figures import spectrum_pictures
from pipeline.runs.metrics import flattened

GOOD_FIT = (0.3, 2.0)  # chi^2 / N outside of which the error bars or the window are to be looked at


def write(folder: Path) -> Path:
    """Write report.html and figures/*.png of the spectrum in a run folder; return the page's path.

    Raises RunError that names the file where it is damaged.
    """
    found = read_spectrum(folder)
    pictures = spectrum_pictures(found)
    html = page("spectrum.html.j2", _content(folder, found) | {"pictures": pictures})
    return write_page(folder, html, pictures)


def _content(folder: Path, found: SpectrumFile) -> dict[str, Any]:
    """Return the template's values by name, but for the pictures."""
    green = found.settings.green
    settings = flattened(found.settings.model_dump(mode="json")).items()
    return {
        "label": folder.resolve().name,
        "folder": folder,
        "lead": f"{len(found.data.points)} points of {green.kernel} at beta = {green.beta:g}, continued by "
        f"{found.method} to {len(found.spectrum.omega)} real frequencies in {found.seconds:.3g} s.",
        "tiles": list(_tiles(found)),
        "verdict": _verdict(found),
        "peaks": list(_banded_peaks(found)),
        "maxima": list(_maxima(found)),
        "table": SPECTRUM_TABLE,
        "details": [(key, str(value)) for key, value in flattened(found.details).items()],
        "settings": [(key, str(value)) for key, value in settings if value is not None],
        "environment": [(key, str(value)) for key, value in found.environment.items()],
        "command": f"python scripts/report.py {shlex.quote(f'run={folder}')}",
    }


def _tiles(found: SpectrumFile) -> Iterator[tuple[str, str, str]]:
    count = len(found.data.residuals)
    yield "chi^2 / N", f"{found.chi_squared_per_point:.3g}", f"{count} numbers; near 1 where the error bars are right"
    yield "Norm", f"{found.norm:.4g}", "integral of the spectrum over the window"
    yield "First moment", f"{found.moments[0]:.4g}", "integral of frequency times spectrum"
    if found.self_energy is not None:
        tail = found.self_energy
        yield "Constant part", f"{tail.constant:.4g}", f"± {tail.error:.2g}; subtracted before the continuation"
        yield "Weight of the tail", f"{tail.weight:.4g}", f"± {tail.weight_error:.2g}; the norm should be as large"


def _verdict(found: SpectrumFile) -> str:
    low, high = GOOD_FIT
    value = found.chi_squared_per_point
    if value > high:
        other = "learned" if found.method == "maxent" else "maxent"
        return (
            "The spectrum does not fit the data within their error bars: these may be too small, the window too "
            f"narrow, too wide or in another unit, or the method too far from what it was made for. Compare with "
            f"spectrum.method={other}."
        )
    if value < low:
        return "The spectrum fits the data better than their error bars allow: these may be too large, or correlated."
    return "The spectrum fits the data within their error bars. Other spectra do so too: believe what the band shows."


def _banded_peaks(found: SpectrumFile) -> Iterator[tuple[str, str, str, str]]:
    """Yield position and weight of each peak, each followed by its band."""
    for peak in found.peaks:
        bands = [f"{low:.3g} .. {high:.3g}" for low, high in (peak.position_band, peak.weight_band)]
        yield f"{peak.position:.4g}", bands[0], f"{peak.weight:.3g}", bands[1]


def _maxima(found: SpectrumFile) -> Iterator[tuple[str, str]]:
    """Yield frequency and height of each local maximum above a hundredth of the highest."""
    omega, values = np.array(found.spectrum.omega), np.array(found.spectrum.values)
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    is_peak = (values > padded[:-2]) & (values >= padded[2:]) & (values > 0.01 * values.max())
    for place in np.flatnonzero(is_peak):
        yield f"{omega[place]:.4g}", f"{values[place]:.4g}"
