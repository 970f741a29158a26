"""Take the result away."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.data import load
from pipeline.export.export import export, find, forms_of, needs_images
from pipeline.networks.network_files import check_fits
from pipeline.presentation.words import counted
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Export in every form that is asked for, and say what was written."""
    folder = Path(experiment.run)
    exported = find(folder, experiment.genotype)
    forms = forms_of(experiment.export.formats, exported)
    test = None
    if exported.trained and needs_images(forms):
        data = load(experiment.data)
        check_fits(exported.trained, data)
        test = data.test
    for name, entry in export(folder, experiment, exported, forms, test).items():
        parity = entry.get("parity")
        checked = (
            f"; logits of {counted(parity['images'], 'image')}, clean and under {parity['attack']}, within "
            f"{parity['largest_logit_difference']:.1e} of the network's, and the same labels"
            if parity
            else ""
        )
        show(f"{folder / name}: {entry['bytes']:,} bytes{checked}")
