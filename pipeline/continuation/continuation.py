"""The continuation as a stage: from a file of measurements to spectrum.csv and spectrum.json in a run folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from analytic_continuation import GreensFunction, Spectrum, continue_spectrum
from analytic_continuation.whitening import Whitening
from pipeline.compute.environment import environment
from pipeline.continuation.green import Measured, grid_of, read_green
from pipeline.continuation.spectrum_file import SPECTRUM_FILE, SPECTRUM_TABLE, SpectrumFile, read_spectrum
from pipeline.errors import RunError
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, plain
from pipeline.settings import Experiment

STAGE = "continue_spectrum"
WHERE = ("path", "covariance", "group")  # of green.<key>: the data themselves are compared, not where they lay


def continue_measured(folder: Path, experiment: Experiment) -> SpectrumFile:
    """Continue what the settings name, and write spectrum.csv and spectrum.json.

    A folder that holds the same continuation returns it; nothing is computed or written anew.
    Raises RunError, before anything is written, for data that cannot be read, that fit neither kernel nor temperature,
    and where the folder holds another continuation.
    """
    measured = read_green(experiment.green)
    omega = grid_of(experiment.spectrum, bosonic=measured.green.kernel.is_bosonic)
    settings, digest = plain({"green": experiment.green, "spectrum": experiment.spectrum}), digest_of(measured.green)
    if (folder / SPECTRUM_FILE).exists():
        found = read_spectrum(folder)
        _check_same(found, settings, digest, folder)
        return found
    started = time.perf_counter()
    asked = experiment.spectrum
    try:
        spectrum = continue_spectrum(
            measured.green,
            omega,
            asked.method,
            norm=asked.norm,
            positive=asked.positive,
            alpha_rule=asked.alpha_rule,
            model=asked.model,
        )
    except FileNotFoundError as error:
        raise RunError(f"spectrum.model: {error}") from None
    seconds = time.perf_counter() - started
    content = _stored(measured, spectrum) | {
        "settings": settings,
        "data_sha256": digest,
        "seconds": round(seconds, 4),
        "environment": environment(),
    }
    found = _checked(content)
    with exclusive(folder, STAGE):
        write_atomically(folder / SPECTRUM_TABLE, as_csv(spectrum))
        write_json(folder / SPECTRUM_FILE, found.model_dump(mode="json"))  # last: it says that the stage is finished
    return found


def digest_of(green: GreensFunction) -> str:
    """Return the SHA-256 of all numbers of the data."""
    digest = hashlib.sha256()
    for array in (green.points, green.values, green.errors, green.covariance):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def as_csv(spectrum: Spectrum) -> str:
    """Write a spectrum as a table: omega, spectrum, and the ends of the band where there is one."""
    columns = {"omega": spectrum.omega, "spectrum": spectrum.values}
    if spectrum.lower is not None and spectrum.upper is not None:
        columns |= {"lower": spectrum.lower, "upper": spectrum.upper}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{value:.10g}" for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def _check_same(found: SpectrumFile, settings: dict[str, Any], digest: str, folder: Path) -> None:
    before = plain({"green": found.settings.green, "spectrum": found.settings.spectrum})
    for each in (before, settings):
        each["green"] = {key: value for key, value in each["green"].items() if key not in WHERE}
    check_same_settings(before, settings, folder)
    if found.data_sha256 != digest:
        raise RunError(f"{folder} holds the spectrum of other data; choose another run=")


def _checked(content: dict[str, Any]) -> SpectrumFile:
    """Return what is to be written. Raises RunError where numbers of it are beyond what a spectrum has."""
    try:
        return SpectrumFile.model_validate_json(json.dumps(content))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise RunError(
            f"{where} of the spectrum is not finite, or above 1e100: expected spectrum.omega_max, spectrum.norm and "
            "1 / green.beta in units in which they are numbers of ordinary size"
        ) from None


def _stored(measured: Measured, spectrum: Spectrum) -> dict[str, Any]:
    green, tail = measured.green, measured.tail
    back = np.asarray(spectrum.back_transform)
    is_complex = np.iscomplexobj(green.values)
    whiten = Whitening(green)
    stacked = np.concatenate([back.real, back.imag]) if is_complex else back.real
    return {
        "method": spectrum.method,
        "chi_squared_per_point": spectrum.chi_squared_per_point,
        "norm": spectrum.norm,
        "moments": list(spectrum.moments),
        "self_energy": None if tail is None else vars(tail),
        "details": dict(spectrum.details),
        "spectrum": {
            "omega": _listed(spectrum.omega),
            "values": _listed(spectrum.values),
            "lower": _listed(spectrum.lower),
            "upper": _listed(spectrum.upper),
        },
        "peaks": [asdict(peak) for peak in spectrum.peaks],
        "data": {
            "points": _listed(green.points),
            "real": _listed(green.values.real),
            "imaginary": _listed(green.values.imag) if is_complex else None,
            "errors": _listed(green.errors),
            "back_real": _listed(back.real),
            "back_imaginary": _listed(back.imag) if is_complex else None,
            "residuals": _listed(whiten(green.real_values - stacked)),
        },
    }


def _listed(array: NDArray[np.float64] | None) -> list[float] | None:
    return None if array is None else np.asarray(array, dtype=np.float64).tolist()


def in_words(folder: Path, found: SpectrumFile) -> list[str]:
    """Say what a finished continuation gave, in lines."""
    omega, values = np.array(found.spectrum.omega), np.array(found.spectrum.values)
    lines = [
        f"{folder / SPECTRUM_TABLE}: {found.method}, chi^2 / N {found.chi_squared_per_point:.3g}, norm "
        f"{found.norm:.4g}, highest peak at {omega[values.argmax()]:.3g}"
    ]
    for peak in found.peaks:
        (low, high), (least, most) = peak.position_band, peak.weight_band
        lines.append(
            f"peak at {peak.position:.3g} ({low:.3g} .. {high:.3g}), weight {peak.weight:.3g} "
            f"({least:.3g} .. {most:.3g})"
        )
    if found.self_energy is not None:
        tail = found.self_energy
        lines.append(
            f"self-energy: constant part {tail.constant:.6g} ± {tail.error:.2g}, weight of the tail {tail.weight:.4g} "
            f"± {tail.weight_error:.2g}"
        )
    return lines
