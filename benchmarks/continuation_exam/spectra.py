"""Spectra of the exam, as functions of frequency: ACT100's kinds of peaks, and families that train no network.

ACT100 (L. Huang, ACTest, 2025) has 50 fermionic and 50 bosonic spectra, in three kinds with given numbers of peaks.
Kinds and numbers are its own; the peaks' places, widths and heights are drawn here, so that scores are not those of its
authors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = Callable[[Array], Array]

PEAKS: Mapping[str, Mapping[int, int]] = MappingProxyType(
    {
        "gaussians": {1: 3, 2: 7, 3: 10},
        "narrow peaks": {1: 5, 2: 5, 3: 2, 4: 3, 5: 3, 6: 2},
        "rise and decay": {1: 1, 2: 5, 3: 2, 4: 1, 5: 1},
    }
)
"""ACT100's numbers of spectra, by kind and number of peaks."""

NARROW = 0.02  # width of a narrow peak
UNSEEN = 10  # spectra of each family of the second part
CONTROL = "gaussians"


@dataclass(frozen=True)
class ExamSpectrum:
    """A spectrum by name.  shape: not normalised.  is_positive: false of off-diagonal elements."""

    family: str
    index: int
    shape: Shape
    is_positive: bool = True


def act_spectra(seed: int, *, bosonic: bool) -> Iterator[ExamSpectrum]:
    """Yield 50 spectra of ACT100's design.  bosonic: A(w) is even, made of peaks at w and -w."""
    generator = np.random.default_rng([seed, 100 + bosonic])
    for family, numbers in PEAKS.items():
        counts = [peaks for peaks, spectra in numbers.items() for _ in range(spectra)]
        for index, peaks in enumerate(counts):
            shape = _ACT[family](generator, peaks)
            yield ExamSpectrum(family, index, _even(shape) if bosonic else shape, family != "rise and decay")


def unseen_spectra(seed: int) -> Iterator[ExamSpectrum]:
    """Yield ten spectra of each family that no training has: and of Gaussians, which are the control."""
    for number, (family, draw) in enumerate(_UNSEEN.items()):
        generator = np.random.default_rng([seed, 200 + number])
        for index in range(UNSEEN):
            yield ExamSpectrum(family, index, draw(generator))


def _even(shape: Shape) -> Shape:
    return lambda omega: shape(omega) + shape(-omega)


def _sum(shapes: list[Shape], heights: Array) -> Shape:
    return lambda omega: sum((height * each(omega) for height, each in zip(heights, shapes, strict=True)), 0 * omega)


def _gaussian(centre: float, width: float) -> Shape:
    return lambda omega: np.exp(-0.5 * ((omega - centre) / width) ** 2) / width


def _apart(generator: np.random.Generator, count: int, reach: float, distance: float) -> Array:
    """Draw centres in -reach .. reach that are at least `distance` apart."""
    while True:
        centres = np.sort(generator.uniform(-reach, reach, count))
        if count == 1 or np.diff(centres).min() >= distance:
            return centres


def _broad(generator: np.random.Generator, peaks: int) -> Shape:
    centres = _apart(generator, peaks, 3.5, 1.0)
    shapes = [
        _gaussian(centre, width) for centre, width in zip(centres, generator.uniform(0.2, 0.9, peaks), strict=True)
    ]
    return _sum(shapes, generator.uniform(0.3, 1.0, peaks))


def _narrow(generator: np.random.Generator, peaks: int) -> Shape:
    shapes = [_gaussian(centre, NARROW) for centre in _apart(generator, peaks, 4.0, 0.6)]
    return _sum(shapes, generator.uniform(0.3, 1.0, peaks))


def _rise_and_decay(generator: np.random.Generator, peaks: int) -> Shape:
    """Peaks h exp(-|w - c|^gamma), whose signs alternate."""
    centres, powers = _apart(generator, peaks, 3.5, 1.0), generator.uniform(1.0, 2.0, peaks)
    shapes: list[Shape] = [
        lambda omega, c=centre, p=power: np.exp(-(np.abs(omega - c) ** p))
        for centre, power in zip(centres, powers, strict=True)
    ]
    signs = generator.choice([-1.0, 1.0]) * (-1.0) ** np.arange(peaks)
    return _sum(shapes, signs * generator.uniform(0.3, 1.0, peaks))


_ACT: Mapping[str, Callable[[np.random.Generator, int], Shape]] = MappingProxyType(
    {"gaussians": _broad, "narrow peaks": _narrow, "rise and decay": _rise_and_decay}
)


def _several(generator: np.random.Generator, one: Callable[[float, float], Shape], widest: float) -> Shape:
    """One to three shapes of a centre and a width, with random weights."""
    count = int(generator.integers(1, 4))
    centres = _apart(generator, count, 3.5, 1.2)
    widths = generator.uniform(widest / 4, widest, count)
    shapes = [one(centre, width) for centre, width in zip(centres, widths, strict=True)]
    return _sum(shapes, generator.uniform(0.3, 1.0, count))


def _lorentzian(centre: float, width: float) -> Shape:
    return lambda omega: width / ((omega - centre) ** 2 + width**2)


def _box(centre: float, width: float) -> Shape:
    return lambda omega: (np.abs(omega - centre) <= width) / width


def _semicircle(centre: float, width: float) -> Shape:
    return lambda omega: np.sqrt(np.maximum(0.0, 1 - ((omega - centre) / width) ** 2)) / width


def _three_peaks(generator: np.random.Generator) -> Shape:
    """Two Hubbard bands U apart, and between gaps a narrow peak at the Fermi level: a correlated metal."""
    interaction, width, narrow = generator.uniform(3.0, 5.0), generator.uniform(0.7, 1.1), generator.uniform(0.15, 0.4)
    shift, weight, lean = generator.uniform(-0.3, 0.3), generator.uniform(0.1, 0.4), generator.uniform(0.35, 0.65)
    shapes = [
        _semicircle(shift - interaction / 2, width),
        _semicircle(shift, narrow),
        _semicircle(shift + interaction / 2, width),
    ]
    return _sum(shapes, np.array([(1 - weight) * lean, weight, (1 - weight) * (1 - lean)]))


_UNSEEN: Mapping[str, Callable[[np.random.Generator], Shape]] = MappingProxyType(
    {
        CONTROL: lambda generator: _broad(generator, int(generator.integers(1, 4))),
        "lorentzians": lambda generator: _several(generator, _lorentzian, 0.6),
        "boxes": lambda generator: _several(generator, _box, 1.2),
        "semicircles": lambda generator: _several(generator, _semicircle, 1.5),
        "three peaks": _three_peaks,
    }
)
