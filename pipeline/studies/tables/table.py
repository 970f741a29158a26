"""A tabular benchmark: what every cell of a part of a search space reaches, read from one file instead of trained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from pipeline.errors import RunError
from pipeline.networks.description import genotype_from_plain
from pipeline.runs.files import read_bytes, write_atomically
from pipeline.runs.schemas import checked
from pipeline.studies.tables.published_tables import PublishedCell, PublishedTable, find_published, read_published
from pipeline.studies.tables.rows import CellRow, Header, check_counts
from search_space import Genotype, canonical_form

TABLE_FILE = "table.parquet"
SHIPPED = Path(__file__).parent / "shipped"
LARGEST_TABLE = 500 * 10**6  # bytes: two hundred thousand cells
HEADER_KEY = b"e2rnas"

Floats = NDArray[np.float64]
Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class Entry:
    """What one cell reached; accuracies in [0, 1], the last axis is a seed.

    parameters, conv_linear_macs: of its network.  seconds: of one core, for all seeds; nan where others published it.
    trained: [epochs, seeds] on the training images of each epoch.  clean, robust: [epochs, seeds] on validation images.
    validation, test: [seeds] at the end, by attack. Others published no epochs, and one part for both.
    """

    genotype: Genotype
    parameters: int
    conv_linear_macs: int
    seconds: float
    trained: Floats
    clean: Floats
    robust: Floats
    validation: Mapping[str, Floats]
    test: Mapping[str, Floats]


class Table(Sequence[Entry]):
    """Cells and what each reached, found by number, genotype or text; cells that compute the same have one entry.

    data: the name of the images.  attack: what cells are compared by where no other is named.
    header: the settings of all trainings, and the numbers of images; None of a table that others published.
    """

    def __init__(self, entries: Sequence[Entry], *, data: str, attack: str, header: Header | None) -> None:
        self.data, self.attack, self.header = data, attack, header
        self._entries = list(entries)
        self._places = {canonical_form(entry.genotype): place for place, entry in enumerate(self._entries)}

    @classmethod
    def of_rows(cls, header: Header, rows: Sequence[CellRow], attack: str | None = None) -> Table:
        """Make the table of what was tabulated.  attack: by which cells are compared, the last one by default.

        Raises ValueError where there are no rows, and for an attack that they do not have.
        """
        if not rows:
            raise ValueError("a table needs at least one cell")
        attacks = list(rows[0].test)
        if attack is not None and attack not in attacks:
            raise ValueError(f"the table has no attack {attack!r}, only {', '.join(attacks)}")
        entries = [_entry(header, row) for row in rows]
        return cls(entries, data=header.data, attack=attack or attacks[-1], header=header)

    @classmethod
    def of_published(cls, published: PublishedTable) -> Table:
        """Make the table of what others published: what judges a cell is all that a searcher can see of it."""
        entries = [_published_entry(cell, len(cell.accuracies[published.attack])) for cell in published.cells]
        return cls(entries, data=published.data, attack=published.attack, header=None)

    @property
    def own_header(self) -> Header:
        """Return the header. Raises ValueError for a table that others published, which has none."""
        if self.header is None:
            raise ValueError("others published this table: it does not say by which settings its networks are trained")
        return self.header

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __contains__(self, cell: object) -> bool:
        return isinstance(cell, Genotype | str) and canonical_form(_genotype(cell)) in self._places

    def __getitem__(self, cell: Any) -> Any:
        """Return the entry of a place, of a cell or of NAS-Bench-201's string. Raises KeyError for one not in it."""
        return self._entries[cell if isinstance(cell, int | slice) else self.place(cell)]

    def place(self, cell: Genotype | str) -> int:
        """Return the number of the entry of a cell. Raises KeyError that says how many cells there are."""
        form = canonical_form(_genotype(cell))
        if form not in self._places:
            raise KeyError(f"this cell is not one of the {len(self):,} that were tabulated: {form}")
        return self._places[form]

    def accuracies(self, attack: str | None = None, part: str = "test") -> Floats:
        """Return the accuracy of every training, [cells, seeds].  part: `test` or `validation`."""
        measured = [getattr(entry, part)[attack or self.attack] for entry in self._entries]
        return np.stack(measured)

    @cached_property
    def means(self) -> Floats:
        """The mean test accuracy of each cell under the table's attack, [cells]."""
        found: Floats = self.accuracies().mean(axis=1)
        return found

    def mean(self, cell: Genotype | str) -> float:
        """Return the mean test accuracy of a cell under the table's attack. Raises KeyError for one not in it."""
        return float(self.means[self.place(cell)])

    @cached_property
    def seed_deviation(self) -> float:
        """The standard deviation of one training around the mean of its cell, pooled over cells; nan of one each."""
        accuracies = self.accuracies()
        return float(np.sqrt(accuracies.var(axis=1, ddof=1).mean())) if accuracies.shape[1] > 1 else math.nan

    def inside(self, within: Mapping[str, Interval]) -> list[int]:
        """Return the places of the cells whose parameters and conv_linear_macs lie in the ranges given."""
        return [place for place, entry in enumerate(self._entries) if _is_inside(entry, within)]

    def best(self, within: Mapping[str, Interval] | None = None) -> Entry:
        """Return the cell of the highest mean. Raises ValueError where none lies inside the ranges."""
        places = self.inside(within or {})
        if not places:
            raise ValueError(f"none of the {len(self):,} cells lies inside {dict(within or {})}; widen the ranges")
        return self._entries[max(places, key=lambda place: float(self.means[place]))]

    def percentile(self, cell: Genotype | str, within: Mapping[str, Interval] | None = None) -> float:
        """Return the share of cells whose mean is lower, in %; those of the same mean count half."""
        return percentile_among(self.means[self.inside(within or {})], self.mean(cell))

    def regret(self, cell: Genotype | str, within: Mapping[str, Interval] | None = None) -> float:
        """Return how far the cell's mean lies below that of the best one."""
        return self.mean(self.best(within).genotype) - self.mean(cell)


def percentile_among(means: Floats, mean: float) -> float:
    """Return the share of means that are lower than one, in %; the same ones count half.

    >>> percentile_among(np.array([0.1, 0.2, 0.2, 0.4]), 0.2)
    50.0
    """
    return float(100 * ((means < mean).mean() + (means == mean).mean() / 2))


def load_table(table: str | Path, attack: str | None = None) -> Table:
    """Read a table: a shipped one by its name, a file of `tabulate`, a run folder with one, or a benchmark of others.

    table: of a benchmark of others FOLDER/DATA or FILE.json/DATA, as docs/how_to/tables.md says.
    attack: by which cells are compared, the last of the table by default; one of several others has to be named.
    Every page of a file of `tabulate` is checked against its checksum. Raises ValueError for a name or an attack that
    is none, and RunError that names the file where it is damaged or something else.
    """
    if (published := find_published(Path(table))) is not None:
        return Table.of_published(read_published(*published, attack))
    return Table.of_rows(*read_table(find_table(table)), attack)


def find_table(table: str | Path) -> Path:
    """Return the file of a table, as `load_table` names it. Raises ValueError where there is none."""
    path = Path(table)
    if path.is_dir():
        path = path / TABLE_FILE
    if not path.exists() and (SHIPPED / f"{table}.parquet").exists():
        path = SHIPPED / f"{table}.parquet"
    if not path.exists():
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.parquet")))
        raise ValueError(f"no table {str(table)!r}: expected a file, a run folder, or one of those shipped: {shipped}")
    return path


def write_table(path: Path, header: Header, rows: Sequence[CellRow]) -> Path:
    """Write rows as a table, in the order of their cells' canonical forms; return its path."""
    ordered = sorted(rows, key=lambda row: canonical_form(genotype_from_plain(row.genotype)))
    content = pyarrow.Table.from_pylist([_plain(row) for row in ordered])
    content = content.replace_schema_metadata({HEADER_KEY: header.model_dump_json()})
    file = BytesIO()
    pyarrow.parquet.write_table(content, file, compression="zstd", write_page_checksum=True)
    write_atomically(path, file.getvalue())
    return path


def read_table(path: Path) -> tuple[Header, list[CellRow]]:
    """Return header and rows of a file. Raises RunError that names it where it is damaged or something else."""
    wrong = f"{path} is not a table that tabulate.py writes"
    try:
        file = pyarrow.BufferReader(read_bytes(path, LARGEST_TABLE))
        content = pyarrow.parquet.read_table(file, page_checksum_verification=True)
        metadata = json.loads(content.schema.metadata[HEADER_KEY])
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{wrong}, or damaged: {reason}") from None
    header = checked(metadata, Header, f"{wrong}: header")
    rows = [checked(_nested(row), CellRow, f"{wrong}: cell {number}") for number, row in enumerate(content.to_pylist())]
    for number, row in enumerate(rows):
        check_counts(header, row, f"{wrong}: cell {number}")
    return header, rows


def _plain(row: CellRow) -> dict[str, Any]:
    """One row of the file: the genotype as text, and a column for each attack and part."""
    content = row.model_dump(mode="json")
    for part in ("validation", "test"):
        content |= {f"{part}/{attack}": counts for attack, counts in content.pop(part).items()}
    return content | {"genotype": json.dumps(row.genotype)}


def _nested(plain: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"validation": {}, "test": {}}
    for name, value in plain.items():
        part, _, attack = name.partition("/")
        if attack and part in content:
            content[part][attack] = value
        else:
            content[name] = value
    try:
        content["genotype"] = json.loads(content["genotype"])
    except (KeyError, TypeError, ValueError):
        content["genotype"] = {}
    return content


def _entry(header: Header, row: CellRow) -> Entry:
    def share(images: int, counts: Any) -> Floats:
        return np.asarray(counts, dtype=np.float64) / images

    train, validation, test = (
        partial(share, images) for images in (header.images.train, header.images.validation, header.images.test)
    )
    return Entry(
        genotype=genotype_from_plain(row.genotype),
        parameters=row.parameters,
        conv_linear_macs=row.conv_linear_macs,
        seconds=row.seconds,
        trained=train(row.trained),
        clean=validation(row.clean),
        robust=validation(row.robust),
        validation={attack: validation(counts) for attack, counts in row.validation.items()},
        test={attack: test(counts) for attack, counts in row.test.items()},
    )


def _published_entry(cell: PublishedCell, trainings: int) -> Entry:
    accuracies = {name: np.asarray(values, dtype=np.float64) for name, values in cell.accuracies.items()}
    no_epochs = np.empty((0, trainings))
    return Entry(
        genotype=cell.genotype,
        parameters=cell.cost.parameters,
        conv_linear_macs=cell.cost.conv_linear_macs,
        seconds=math.nan,
        trained=no_epochs,
        clean=no_epochs,
        robust=no_epochs,
        validation=accuracies,
        test=accuracies,
    )


def _genotype(cell: Genotype | str) -> Genotype:
    return cell if isinstance(cell, Genotype) else Genotype.from_nasbench201(cell)


def _is_inside(entry: Entry, within: Mapping[str, Interval]) -> bool:
    for quantity, (low, high) in within.items():
        if quantity not in ("parameters", "conv_linear_macs"):
            raise ValueError(f"expected parameters or conv_linear_macs, found {quantity!r}")
        value = getattr(entry, quantity)
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    return True
