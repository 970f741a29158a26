"""The cell as files: its layouts as text, and its pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import RunError
from search_space import Genotype
from search_space.cells.formats import to_fair_darts, to_python
from search_space.drawing.draw import save_cell

JSON = "json"
LAYOUTS: Mapping[str, tuple[str, Callable[[Genotype], str]]] = MappingProxyType(
    {
        JSON: ("genotype.json", Genotype.to_json),
        "darts": ("genotype_darts.py", lambda genotype: to_python(genotype.to_darts())),
        "fair_darts": ("genotype_fair_darts.py", lambda genotype: to_python(to_fair_darts(genotype))),
        "nasbench201": ("genotype_nasbench201.txt", lambda genotype: genotype.to_nasbench201() + "\n"),
    }
)
"""Name of a layout -> its file and the text in it, a ValueError where the layout cannot say the genotype."""

PICTURES = ("svg", "pdf")
"""Forms of a picture of each cell."""

CELL_FORMS = (*LAYOUTS, *PICTURES)


def can_say(layout: str, genotype: Genotype) -> bool:
    """Return whether a layout has a way to write the genotype."""
    try:
        LAYOUTS[layout][1](genotype)
    except ValueError:
        return False
    return True


def cell_files(form: str, genotype: Genotype) -> dict[str, bytes]:
    """Name -> content of the files of one of CELL_FORMS. Raises RunError when the form cannot say the genotype."""
    if form in PICTURES:
        return _pictures(genotype, form)
    name, write = LAYOUTS[form]
    try:
        return {name: write(genotype).encode()}
    except ValueError as error:
        fitting = [layout for layout in LAYOUTS if can_say(layout, genotype)]
        raise RunError(f"export.formats has {form}: {error}; this cell fits {', '.join(fitting)}") from None


def _pictures(genotype: Genotype, form: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as temporary:
        paths = [Path(temporary) / f"{name}.{form}" for name in genotype.cells]
        for path, cell in zip(paths, genotype.cells.values(), strict=True):
            save_cell(cell, path)
        return {path.name: path.read_bytes() for path in paths}
