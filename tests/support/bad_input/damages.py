"""Ways to damage the run folder of a finished run; networks.py has those of a single file."""

import torch

from pipeline.runs.checkpoints import digest
from tests.support.bad_input.networks import DESCRIPTION, of_bytes


def removed(*names):
    """Take files out of the run folder."""

    def spoil(folder):
        for name in names:
            (folder / name).unlink()

    return spoil


def holds(name, content):
    """Let a file hold something else."""
    return of_bytes(name, lambda _: content if isinstance(content, bytes) else content.encode())


def both(*spoils):
    def spoil(folder):
        for each in spoils:
            each(folder)

    return spoil


def new(name, content):
    """A file that no finished run of a search and a retraining has."""

    def spoil(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)

    return spoil


def only_checkpoints(stage, change):
    """An unfinished run, with checkpoints that are whole but of other content."""

    def spoil(folder):
        (folder / {"search": "search.json", "retrain": "network.json"}[stage]).unlink()
        for path in (folder / "checkpoint").glob(f"{stage}-*.ckpt"):
            content = torch.load(path, weights_only=True)
            change(content)
            torch.save(content, path)
            path.rename(path.with_name(path.name[: path.name.rindex("-")] + f"-{digest(path.read_bytes())}.ckpt"))

    return spoil


NO_NETWORK = removed(DESCRIPTION)
NO_RESULT = removed("search.json")
