"""A table says where a cell stands, and a damaged one is refused wherever a byte changes."""

import json
from itertools import product

import numpy as np
import pytest

from pipeline.compute.environment import environment
from pipeline.errors import RunError
from pipeline.studies.tables.rows import CellRow, Header, PartSizes
from pipeline.studies.tables.table import TABLE_FILE, Table, load_table, write_table
from search_space import Genotype

CELLS = [
    Genotype.from_nasbench201(f"|{name}~0|+|{other}~0|none~1|+|none~0|skip_connect~1|avg_pool_3x3~2|")
    for name, other in product(("nor_conv_1x1", "nor_conv_3x3"), repeat=2)
]


def rows_of(accuracies):
    """A row for each of some cells, with so many of 100 test images right."""
    for place, (cell, right) in enumerate(zip(CELLS, accuracies, strict=False)):
        yield CellRow(
            genotype=json.loads(cell.to_json()),
            parameters=1000 + place,
            conv_linear_macs=5000 - place,
            seconds=1.0,
            trained=(right,),
            clean=(right,),
            robust=(right,),
            validation={"clean": right, "pgd-20": right},
            test={"clean": right, "pgd-20": right},
        )


HEADER = Header(
    settings={"seed": 0},
    data="digits",
    images=PartSizes(train=100, validation=100, test=100),
    environment=environment(),
)


def test_a_table_says_where_a_cell_stands():
    table = Table.of_rows(HEADER, list(rows_of([(50, 60), (30, 30), (70, 90), (55, 55)])))
    assert table.means.tolist() == pytest.approx([0.55, 0.3, 0.8, 0.55])
    cells = [entry.genotype for entry in table]
    assert [table.percentile(cell) for cell in cells] == pytest.approx([50, 12.5, 87.5, 50])
    assert [table.regret(cell) for cell in cells] == pytest.approx([0.25, 0.5, 0, 0.25])
    assert table.best() is table[2]
    assert table.best(within={"parameters": (None, 1001)}) is table[0]
    assert table.percentile(cells[0], within={"conv_linear_macs": (4999, None)}) == pytest.approx(75)
    assert table.seed_deviation == pytest.approx(np.sqrt((0.005 + 0 + 0.02 + 0) / 4))
    with pytest.raises(ValueError, match="none of the 4 cells lies inside"):
        table.best(within={"parameters": (2000, None)})
    with pytest.raises(ValueError, match="expected parameters or conv_linear_macs, found 'flops'"):
        table.best(within={"flops": (0, 1)})


def test_a_cell_is_found_by_what_it_computes():
    (row,) = rows_of([(1, 2)])
    genotype = Genotype.from_nasbench201("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    table = Table.of_rows(HEADER, [row.model_copy(update={"genotype": json.loads(genotype.to_json())})])
    same = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|"
    assert table[same] is table[genotype] is table[0]
    assert same in table
    other = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    assert other not in table
    with pytest.raises(KeyError, match="not one of the 1 that were tabulated: nor_conv_1x1"):
        table[other]


def loaded(path):
    """The accuracies that a file holds, or why it is refused."""
    try:
        return [entry.test["pgd-20"].tolist() for entry in load_table(path)], ""
    except RunError as error:
        return None, str(error)


def test_a_damaged_table_is_refused_wherever_a_byte_changes(tmp_path):
    path = write_table(tmp_path / TABLE_FILE, HEADER, list(rows_of([(50, 60), (30, 30)])))
    content = path.read_bytes()
    whole, _ = loaded(path)
    for place in range(0, len(content), 97):
        changed = bytearray(content)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        found, refusal = loaded(path)
        assert found == whole or refusal.startswith(f"{path} is not a table")
        assert "\n" not in refusal
    path.write_bytes(content[:100])
    with pytest.raises(RunError, match="or damaged"):
        load_table(path)


@pytest.mark.parametrize(("field", "value"), [*product(["test", "validation"], [(101, 0), (1,), (1, 2, 3)])])
def test_counts_that_cannot_be_are_refused(field, value, tmp_path):
    (row,) = rows_of([(1, 2)])
    path = write_table(
        tmp_path / TABLE_FILE, HEADER, [row.model_copy(update={field: {"clean": value, "pgd-20": (1, 2)}})]
    )
    with pytest.raises(RunError, match=r"cell 0: expected (at most 100|as many numbers everywhere as seeds)"):
        load_table(path)
