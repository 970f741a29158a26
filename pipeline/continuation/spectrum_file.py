"""The content of spectrum.json, by which every reader reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.runs.schemas import Digest, Environment, Figure, Schema, Seconds, read_as
from pipeline.settings import GreenSettings, SpectrumSettings

SPECTRUM_FILE = "spectrum.json"
SPECTRUM_TABLE = "spectrum.csv"
Figures = Annotated[tuple[Figure, ...], Field(min_length=1)]


class StoredSpectrum(Schema):
    """A spectrum on its grid, with the band around it where the method has one; all [m]."""

    omega: Figures
    values: Figures
    lower: Figures | None = None
    upper: Figures | None = None

    @model_validator(mode="after")
    def _are_as_many(self) -> Self:
        others = [each for each in (self.values, self.lower, self.upper) if each is not None]
        if any(len(each) != len(self.omega) for each in others) or (self.lower is None) != (self.upper is None):
            raise ValueError("expected as many values, and as many ends of the band, as frequencies")
        return self


class StoredPeak(Schema):
    """A peak with its 90 % bands, as `analytic_continuation.Peak`."""

    position: Figure
    position_band: tuple[Figure, Figure]
    ends: tuple[Figure, Figure]
    weight: Figure
    weight_band: tuple[Figure, Figure]


class StoredData(Schema):
    """What was continued, beside what the spectrum would measure; real parts, and imaginary ones where there are, [n].

    residuals: data minus back-transform in units of the error bars, the real parts first, [n] or [2 n]; made
    independent by the covariance where there is one.
    """

    points: Figures
    real: Figures
    imaginary: Figures | None
    errors: Figures
    back_real: Figures
    back_imaginary: Figures | None
    residuals: Figures

    @model_validator(mode="after")
    def _are_as_many(self) -> Self:
        parts = (self.real, self.imaginary, self.errors, self.back_real, self.back_imaginary)
        count = len(self.points) * (1 if self.imaginary is None else 2)
        is_fit = all(len(part) == len(self.points) for part in parts if part is not None)
        if not is_fit or len(self.residuals) != count or (self.imaginary is None) != (self.back_imaginary is None):
            raise ValueError("expected as many values, errors and residuals as points")
        return self


class StoredTail(Schema):
    """The tail of a self-energy, as `pipeline.continuation.self_energy.Tail`."""

    constant: Figure
    error: Figure
    weight: Figure
    weight_error: Figure


class StoredSettings(Schema):
    """All that was asked for."""

    green: GreenSettings
    spectrum: SpectrumSettings


class SpectrumFile(Schema):
    """The content of spectrum.json, of a finished continuation.

    data_sha256: of points, values and errors.  details: what the method says of itself.
    peaks: of methods that have bands for them.
    """

    format: Literal["spectrum"] = "spectrum"
    version: Literal[1] = 1
    settings: StoredSettings
    data_sha256: Digest
    method: str
    chi_squared_per_point: Annotated[float, Field(ge=0, le=1e300)]
    norm: Figure
    moments: tuple[Figure, ...]
    self_energy: StoredTail | None
    details: dict[str, Any]
    spectrum: StoredSpectrum
    peaks: tuple[StoredPeak, ...] = ()
    data: StoredData
    seconds: Seconds
    environment: Environment


def read_spectrum(folder: Path) -> SpectrumFile:
    """Read spectrum.json of a run folder. Raises RunError that names the file where it is something else."""
    return read_as(folder / SPECTRUM_FILE, SpectrumFile, "continue_spectrum")
