"""Names of kernels, methods and rules, which settings read without importing anything that computes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

KERNELS = ("fermionic_matsubara", "fermionic_time", "bosonic_matsubara", "bosonic_time")
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "freq_fermionic": "fermionic_matsubara",
        "time_fermionic": "fermionic_time",
        "freq_bosonic": "bosonic_matsubara",
        "time_bosonic": "bosonic_time",
    }
)
"""The kernels' names in ana_cont."""

METHODS: Mapping[str, str] = MappingProxyType(
    {
        "learned": "a learned sequence of well-conditioned convex problems",
        "maxent": "maximum entropy with a flat default model",
        "maxent_neural": "maximum entropy whose default model is the learned spectrum",
    }
)
ALPHA_RULES: Mapping[str, str] = MappingProxyType(
    {
        "chi2kink": "alpha where log chi^2 leaves its plateau",
        "classic": "the most probable alpha",
        "historic": "chi^2 is the number of data",
    }
)
"""How maximum entropy chooses the weight of the entropy."""
DEFAULT_MODEL = "gaussians"
TRAINING_SHAPES: Mapping[str, str] = MappingProxyType(
    {
        "gaussians": "mixtures of Gaussians alone",
        "wide": "mixtures of Gaussians, Lorentzians, boxes, semicircles and exponential peaks",
    }
)
"""Spectra that networks are trained on."""
