"""Take the result away: python scripts/export.py run=runs/mine export.formats=[darts,onnx]."""

from __future__ import annotations

from pathlib import Path

from _app import run_app

from pipeline.artifacts import load_genotype, load_network
from pipeline.data import load
from pipeline.evaluate import check_fits
from pipeline.export import check_onnx_installed, check_repeatable, export_darts, export_onnx
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Export in every format that is asked for."""
    folder, formats = Path(experiment.run), experiment.export.formats
    if "onnx" in formats:
        check_onnx_installed()
        trained, data = load_network(folder), load(experiment.data)
        check_repeatable(trained.network.genotype)
        check_fits(trained, data)
    if "darts" in formats:
        reference = experiment.genotype or experiment.run
        # of the trained network, where there is one: both files then hold the same cell
        trained_here = (folder / "network.json").exists() and experiment.genotype is None
        genotype = load_network(folder).network.genotype if trained_here else load_genotype(reference)[1]
        print(export_darts(folder, genotype))
    if "onnx" in formats:
        images, _ = next(data.test.batches(256))
        parity = export_onnx(folder, trained, images)
        difference = parity["largest_logit_difference"]
        print(f"{folder / 'network.onnx'}: logits of {parity['images']} images within {difference:.1e} of PyTorch's")


if __name__ == "__main__":
    run_app(main, "Export the cell as DARTS's Python text and the trained network as ONNX.", one_process=True)
