"""Settings of a continuation: what was measured on the imaginary axis, and the spectrum that is asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from analytic_continuation.names import ALIASES, DEFAULT_MODEL
from pipeline.settings.base import Number, Positive, Settings

Measure = Annotated[Number, Field(ge=-1e30, le=1e30)]
"""A frequency or an integral, in whichever unit: what is larger overflows as it is multiplied."""
MOST_FREQUENCIES = 20_001  # of a grid: the back-transform of more holds gigabytes


def _canonical(name: Any) -> Any:
    return ALIASES.get(name, name) if isinstance(name, str) else name


KernelName = Annotated[
    Literal["fermionic_matsubara", "fermionic_time", "bosonic_matsubara", "bosonic_time"], BeforeValidator(_canonical)
]


class GreenSettings(Settings):
    """A measured Green's function, susceptibility or self-energy, and the files that hold it."""

    path: str | None = Field(
        None, min_length=1, description="text, .npy, .npz or HDF5 file: frequencies or times, values, error bars"
    )
    kernel: KernelName | None = Field(
        None, description="what was measured; ana_cont's freq_fermionic, time_fermionic, ... are understood too"
    )
    beta: Positive | None = Field(None, description="inverse temperature, in the inverse unit of the frequencies")
    errors: Positive | None = Field(None, description="error bar of each value, where the file has none")
    covariance: str | None = Field(
        None, min_length=1, description="file of the errors' covariance, in place of error bars; null: that of path"
    )
    group: str = Field("", description="HDF5: the group in which the arrays lie")
    self_energy: bool = Field(False, description="the values are a self-energy, whose constant part is subtracted")
    constant: Number | None = Field(None, description="self_energy: its constant part; null fits it to the tail")

    @model_validator(mode="after")
    def _a_constant_is_of_a_self_energy(self) -> Self:
        if self.constant is not None and not self.self_energy:
            raise ValueError("green.constant is the constant part of a self-energy; set green.self_energy=true")
        if self.self_energy and self.kernel not in (None, "fermionic_matsubara"):
            raise ValueError(f"green.self_energy=true is for fermionic_matsubara, found green.kernel={self.kernel}")
        if self.errors is not None and self.covariance is not None:
            raise ValueError("green.errors and green.covariance are both given; a covariance holds the error bars")
        return self


class SpectrumSettings(Settings):
    """The real frequencies of a spectrum, and how it is found."""

    method: Literal["learned", "maxent", "maxent_neural"] = Field(
        "learned", description="learned optimizer, maximum entropy, or the latter with the former as default model"
    )
    alpha_rule: Literal["chi2kink", "classic", "historic"] = Field(
        "chi2kink", description="maxent: how the weight of the entropy is chosen (ana_cont's alpha_determination)"
    )
    model: str = Field(
        DEFAULT_MODEL, min_length=1, description="learned: name of a shipped network, or the file of a trained one"
    )
    positive: bool = Field(True, description="false of off-diagonal elements, whose spectra have both signs")
    norm: Measure | None = Field(
        None, description="integral of the spectrum where it is known, 1 of one orbital; null for what the data say"
    )
    grid: Literal["linear", "centred"] = Field("linear", description="centred: frequencies lie closer at 0")
    omega_min: Measure | None = Field(
        None, description="lower end of the window; null for -omega_max, and for 0 of bosons, whose spectra are even"
    )
    omega_max: Measure | None = Field(None, description="upper end of the window")
    n_points: Annotated[int, Field(ge=8, le=MOST_FREQUENCIES)] = Field(801, description="frequencies of the grid")

    @model_validator(mode="after")
    def _a_positive_spectrum_has_a_positive_norm(self) -> Self:
        if self.positive and self.norm is not None and self.norm <= 0:
            raise ValueError(
                f"spectrum.norm={self.norm:g}: expected a number above 0; spectra of both signs need "
                "spectrum.positive=false"
            )
        return self
