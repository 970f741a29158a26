"""What it saves to train several seeds of a cell side by side, as one network whose convolutions have a group for each.

    python benchmarks/side_by_side.py --threads 1

Epochs of a table's training (an attack of two steps, then a step of the weights) of 1, 2, 3, ... seeds, all numbers in
turn in one process; medians, and the time of a network beside that of one alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence

import record
import torch

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.studies.tables.side_by_side_training import SideBySideTraining
from search_space import PUBLISHED, Genotype

NASBENCH201 = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
CELLS = {
    "NAS-Bench-201, C=4, 5 layers": (Genotype.from_nasbench201(NASBENCH201), ()),
    "NAS-Bench-201, C=16, 5 layers": (Genotype.from_nasbench201(NASBENCH201), ("retrain.channels=16",)),
    "DARTS_V2, C=4, 4 layers": (
        PUBLISHED["DARTS_V2"].genotype,
        ("space=darts", "retrain.channels=4", "retrain.layers=4"),
    ),
}


def rows(counts: Sequence[int], repeats: int) -> Iterator[list[str]]:
    """Milliseconds of a step for each number of seeds, as cells of the table."""
    for name, (genotype, overrides) in CELLS.items():
        experiment = compose_experiment(["experiment=table_nasbench201", "data.limit=300", *overrides])
        data, fabric = load(experiment.data), make_fabric(experiment.fabric)
        trainings = {count: SideBySideTraining(experiment, data, fabric, genotype, range(count)) for count in counts}
        seconds: dict[int, list[float]] = {count: [] for count in counts}
        for epoch in range(repeats + 1):  # the first is not counted
            for count, training in trainings.items():
                started = time.perf_counter()
                training.run_epoch(epoch)
                seconds[count].append(time.perf_counter() - started)
        medians = {count: statistics.median(taken[1:]) for count, taken in seconds.items()}
        alone = medians[counts[0]] / counts[0]
        yield [name, *(f"{median / count / alone:.2f}" for count, median in medians.items())]


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 2, 3, 6, 12])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--results", type=record.Path, default=record.RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    header = ("cell", *(f"{count} seed{'s' if count > 1 else ''}" for count in arguments.counts))
    text = (
        "8x8 digits, batch 64 of each seed, PGD-2 in training. Time a network takes, as a part of what one alone "
        f"takes; medians of {arguments.repeats} epochs of 3 steps, all numbers in turn.\n\n"
    ) + record.table(header, list(rows(arguments.counts, arguments.repeats)))
    record.write("side_by_side", "Seeds trained side by side", text, [], arguments.results)


if __name__ == "__main__":
    main()
