"""What is shipped, by name: cells of papers and of this project, learned optimizers, and a network of spectra."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RunError
from search_space import PUBLISHED, Genotype

if TYPE_CHECKING:
    from analytic_continuation.unrolled.model_files import ContinuationModel
    from learned_optimizers import Theta

FOUND = Path(__file__).parent / "found_cells.json"


@cache
def _known() -> dict[str, tuple[str, Callable[[], Any]]]:
    """Name -> what it is, and what loads it."""
    from analytic_continuation.unrolled import model_files
    from learned_optimizers import theta

    known: dict[str, tuple[str, Callable[[], Any]]] = {}
    for name, cell in PUBLISHED.items():
        known[name] = f"published cell ({cell.paper})", partial(getattr, cell, "genotype")
    for name, found in json.loads(FOUND.read_text(encoding="utf-8")).items():
        known[name] = found["what"], partial(Genotype.from_json, json.dumps(found["genotype"]))
    for name in theta.shipped():
        known[name] = "learned optimizer", partial(theta.load_theta, name)
    for name in model_files.shipped():
        known[name] = "network of spectra, for analytic continuation", partial(model_files.load_model, name)
    return known


def load(name: str) -> Genotype | Theta | ContinuationModel:
    """Return what is shipped under a name: a Genotype, a Theta for `LearnedOptimizer`, or a network of spectra.

    name: one of `shipped`. Nothing is downloaded. Raises ValueError where it is none, with the nearest name.

    >>> load("digits-searched-1").cells.keys() == load("DARTS_V2").cells.keys()
    True
    >>> load("mlp").architecture
    'mlp'
    """
    known = _known()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        raise RunError(f"nothing is shipped as {name!r}; {hint}")
    _, loader = known[name]
    return loader()  # type: ignore[no-any-return]


def shipped() -> Mapping[str, str]:
    """Return what each thing is that `load` knows, by name.

    >>> print(shipped()["digits-searched-1"])
    cell found on the digits: 74.5 % under pgd-20, mean of 5 trainings; 23,282 parameters
    """
    return {name: what for name, (what, _) in _known().items()}
