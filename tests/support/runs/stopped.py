"""Searches that are run whole, or stop after one of their checkpoints."""

from lightning_fabric import Fabric

from pipeline.data.loading import load
from pipeline.search import search as search_stage


class Stop(Exception):  # noqa: N818 - not a fault
    """Ends a search from inside."""


def run_search(folder, experiment, monkeypatch=None, stop_after=None):
    """Search in a folder; with stop_after, raise Stop once so many checkpoints are written."""
    if stop_after is not None:
        save, saved = search_stage.Checkpoints.save, []

        def save_and_stop(self, epoch, state):
            save(self, epoch, state)
            saved.append(epoch)
            if len(saved) == stop_after:
                raise Stop

        monkeypatch.setattr(search_stage.Checkpoints, "save", save_and_stop)
    data, fabric = load(experiment.data), Fabric(accelerator="cpu")
    return search_stage.search(folder, experiment, data, fabric)
