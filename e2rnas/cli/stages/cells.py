"""Published cells and their sizes, as published and at this setting."""

from __future__ import annotations

from dataclasses import asdict, replace

from e2rnas.cli.output import show
from pipeline.data import load
from pipeline.networks.genotype_reference import load_genotype
from pipeline.presentation.tables import text_table
from pipeline.settings import Experiment
from search_space import PUBLISHED, Genotype, NetworkShape, channels_for_parameters, network_cost

SIZE_COLUMNS = ("parameters", "conv + linear MACs", "thop MACs")


def main(experiment: Experiment) -> None:
    """Print one table at the published setting, one at that of retrain.* on this data set."""
    if experiment.genotype is None:
        cells = {name: (published.genotype, published.paper) for name, published in PUBLISHED.items()}
    else:
        name, genotype = load_genotype(experiment.genotype)
        cells = {name: (genotype, PUBLISHED[name].paper if name in PUBLISHED else experiment.genotype)}
    data = load(experiment.data)
    here = data.network_shape(channels=experiment.retrain.channels, layers=experiment.retrain.layers)
    shapes = {name: _shape(genotype, experiment.retrain.parameters, here) for name, (genotype, _) in cells.items()}
    print_table("As published", {name: (cells[name][0], NetworkShape()) for name in cells})
    print_table(f"On {data.name}", {name: (cells[name][0], shapes[name]) for name in cells})
    show(*(f"{name}: {source}" for name, (_, source) in cells.items()))


def _shape(genotype: Genotype, parameters: int | None, shape: NetworkShape) -> NetworkShape:
    if parameters is None:
        return shape
    return replace(shape, channels=channels_for_parameters(genotype, parameters, shape=shape))


def print_table(title: str, cells: dict[str, tuple[Genotype, NetworkShape]]) -> None:
    """Parameters without the auxiliary head, and multiply-accumulates of one image in both conventions."""
    shape = next(iter(cells.values()))[1]
    size = f"{shape.in_channels} x {shape.image_size} x {shape.image_size}"
    show(f"{title}: {shape.layers} layers, images {size}, {shape.num_classes} classes")
    rows = []
    for name, (genotype, at) in cells.items():
        cost = network_cost(genotype, **asdict(at))
        sizes = (at.channels, cost.parameters, cost.conv_linear_macs, cost.thop_macs)
        rows.append((name, *(f"{number:,}" for number in sizes)))
    show(*text_table(("cell", "channels", *SIZE_COLUMNS), rows), "")
