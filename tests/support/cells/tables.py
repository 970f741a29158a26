"""Tables of cells made by hand, without training."""

import numpy as np

from pipeline.compute.environment import environment
from pipeline.networks.description import genotype_to_plain
from pipeline.studies.tables.distinct_cells import distinct_cells
from pipeline.studies.tables.rows import CellRow, Header, PartSizes
from pipeline.studies.tables.table import Table
from search_space import SearchSpace

IMAGES = 10_000
SPACE = SearchSpace(
    nodes=2, operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"), family="nasbench201"
)
TABULATED = (
    "experiment=study_nasbench201",
    "space.nodes=2",
    "data.limit=120",
    "data.test_limit=40",
    "retrain.layers=3",
    "retrain.epochs=9",
    "retrain.batch_size=32",
    "search.derived_layers=3",
)
"""Settings of a study whose table is of SPACE and small networks."""
RECIPE = {"recipe": "pgd_at", "epochs": 9, "attack": {"name": "pgd", "steps": 2}}


def header_by_hand(settings=None):
    """A header of so many images of each part, by the recipe above unless settings are given."""
    return Header(
        settings=settings or {"seed": 0, "retrain": RECIPE},
        data="digits",
        images=PartSizes(train=IMAGES, validation=IMAGES, test=IMAGES),
        environment=environment(),
    )


def rows_by_hand(test, validation=None, curves=None, *, cells=None):
    """A row for each cell: shares of images right at the end, [cells, trainings], and after epochs, [cells, epochs].

    validation: those of the test images by default.  curves: the same for all trainings, 0 by default.
    """
    test = np.asarray(test, dtype=float)
    validation = test if validation is None else np.asarray(validation, dtype=float)
    curves = np.zeros((len(test), RECIPE["epochs"])) if curves is None else np.asarray(curves, dtype=float)
    cells = distinct_cells(SPACE, len(test), seed=0) if cells is None else cells
    for place, cell in enumerate(cells):
        of_epochs = tuple(tuple([counted(share)] * test.shape[1]) for share in curves[place])
        yield CellRow(
            genotype=genotype_to_plain(cell),
            parameters=1000 + place,
            conv_linear_macs=5000 - place,
            seconds=12.0,
            trained=of_epochs,
            clean=of_epochs,
            robust=of_epochs,
            validation={"pgd-20": tuple(map(counted, validation[place]))},
            test={"pgd-20": tuple(map(counted, test[place]))},
        )


def table_by_hand(test, validation=None, curves=None):
    """The table of these rows."""
    return Table.of_rows(header_by_hand(), list(rows_by_hand(test, validation, curves)))


def counted(share):
    """Images right, of a share."""
    return round(IMAGES * float(share))
