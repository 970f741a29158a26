"""What `genotype=` may name: a shipped cell, a string, a run folder, or a file that a person brings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from pipeline.errors import RunError
from pipeline.networks.description import TrainedNetwork, genotype_from_plain
from pipeline.networks.network_files import errors_name, load_network
from pipeline.networks.shipped_cells import shipped_cells
from pipeline.runs.files import parse_json, read_text
from search_space import Genotype
from search_space.cells.formats import UNNAMED, from_python


def cell_of(folder: Path, reference: str | None) -> tuple[str, Genotype]:
    """Name and genotype of what `genotype=` names; where it names nothing, of a run folder. Raises RunError."""
    if reference:
        return load_genotype(reference)
    if not any((folder / name).exists() for name in ("genotype.json", "network.json")):
        raise RunError(
            f"run={folder} holds no cell yet: search one (python scripts/search.py {shlex.quote(f'run={folder}')}), "
            "or give a published one, such as genotype=DARTS_V2"
        )
    return load_genotype(str(folder))


def load_genotype(reference: str) -> tuple[str, Genotype]:
    """Return the name and genotype of what `genotype=` may be; raises RunError otherwise.

    That is a name of `shipped_cells`, a string of NAS-Bench-201, a run folder, or a file: genotype.json, a text with
    such a string, or Python text as DARTS and its relatives have it, where `genotypes.py:NAME` chooses among several.
    No file is executed.
    """
    if reference in shipped_cells():
        return reference, shipped_cells()[reference].genotype
    if reference.startswith("|"):
        with errors_name(f"genotype={reference}"):
            return reference, Genotype.from_nasbench201(reference)
    with errors_name(f"genotype={reference}"):
        file, chosen = _path_and_name(reference)
        if (file / "genotype.json").exists():
            file /= "genotype.json"
        elif (file / "network.json").exists():  # a published cell that was retrained
            description = load_network(file).description
            return description.name, genotype_from_plain(description.genotype)
        elif not file.is_file():
            raise RunError(f"genotype={reference} {_no_genotype(reference)}")
    with errors_name(str(file)):
        name, genotype = _parse_genotype(read_text(file), file.suffix, chosen)
    return name or file.resolve().parent.name, genotype


def _no_genotype(reference: str) -> str:
    near = nearest_name(reference, shipped_cells())
    if near:
        return f"is no published cell and no file; did you mean {near}?"
    return (
        f"is not a published name ({', '.join(shipped_cells())}), a genotype.json, Python text "
        "in DARTS's form (genotypes.py:NAME), a string of NAS-Bench-201 or a finished run"
    )


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that comes near to one that is none, in whatever case; None where none does.

    >>> nearest_name("darts_v9", ["DARTS_V2", "PDARTS"])
    'DARTS_V2'
    """
    by_upper = {each.upper(): each for each in known}
    near = get_close_matches(name.upper(), by_upper, n=1)
    return by_upper[near[0]] if near else None


def read_genotype(path: Path) -> Genotype:
    """Return the genotype in a genotype.json. Raises RunError that names the file and what is wrong with it."""
    with errors_name(str(path)):
        return _genotype_of_json(read_text(path))


def _path_and_name(reference: str) -> tuple[Path, str | None]:
    """Return the path in FILE:NAME and the name, None where the reference is a path alone."""
    path, _, name = reference.rpartition(":")
    if path and Path(path).is_file() and not Path(reference).exists():
        return Path(path), name
    return Path(reference), None


def _parse_genotype(text: str, suffix: str, chosen: str | None) -> tuple[str | None, Genotype]:
    """Return the name that the text gives it, None where it gives none, and the genotype."""
    if text.startswith("|"):
        return None, Genotype.from_nasbench201(text.strip())
    if suffix == ".py" or (suffix != ".json" and "Genotype(" in text):
        name, genotype = from_python(text, chosen)
        return (None if name == UNNAMED else name), genotype
    return None, _genotype_of_json(text)


def _genotype_of_json(text: str) -> Genotype:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"a genotype file holds JSON; this is not: {error}") from None
    return genotype_from_plain(content)


def check_cell(folder: Path, trained: TrainedNetwork, reference: str | None) -> None:
    """Raise RunError where `genotype=` is given and names another cell than that of the folder's network, or none."""
    if reference is not None and cell_of(folder, reference)[1] != trained.network.genotype:
        raise RunError(f"{folder} holds a network of another cell than genotype={reference}; choose another run=")
