"""Trained networks in folders and repositories as a hub of models keeps them: given away, and taken from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2rnas.run import Run
from pipeline.errors import RunError
from pipeline.export import hub
from pipeline.networks.network_files import load_network
from pipeline.presentation.notebook import TextInNotebook
from pipeline.presentation.words import printable
from search_space import Network


@dataclass(frozen=True)
class PushedNetwork(TextInNotebook):
    """List the files that `push_to_hub` wrote into a folder.

    address: of the repository that they were uploaded to; None where they were not.
    """

    folder: Path
    files: tuple[str, ...]
    address: str | None

    def __str__(self) -> str:
        written = [
            f"{printable(str(self.folder / name))}: {(self.folder / name).stat().st_size:,} bytes"
            for name in self.files
        ]
        return "\n".join([*written, *([f"uploaded to {printable(self.address)}"] if self.address else [])])


def push_to_hub(
    run: Run | str | Path, repository: str | None = None, *, folder: str | Path | None = None, private: bool = True
) -> PushedNetwork:
    """Write a run's network as model.safetensors, config.json and README.md; upload them where a repository is named.

    run: a run, or its folder, with a trained network; README.md is its model card, with what was measured of it.
    repository: on the hub, as "user/name"; it is made where it is not there. None uploads nothing.
    folder: where the files are written. None: hub/ in the run folder.
    private: whether a repository that is made can be seen by its owners alone.
    Raises ValueError where there is no network, the folder holds something else, huggingface_hub is not installed, or
    the hub refuses; it takes the token that its own log-in has stored.
    """
    source = run.folder if isinstance(run, Run) else Path(run)
    target = source / "hub" if folder is None else Path(folder)
    trained = load_network(source)
    if repository is not None:
        hub.checked_hub(repository)  # before anything is written
    hub.write_hub_folder(target, hub.hub_files(source, trained, repository or str(target)))
    address = None if repository is None else hub.upload(target, repository, private=private)
    return PushedNetwork(target, hub.HUB_FILES, address)


def from_pretrained(reference: str | Path, *, revision: str | None = None) -> Network:
    """Load a network that `push_to_hub` wrote, in evaluation mode on the CPU; no code of it is run.

    reference: a folder, or a repository on the hub, as "user/name".
    revision: of a repository: a branch, a tag or a commit.
    It takes images [N, C, H, W] in [0, 1], normalises them itself and returns logits [N, classes]. Raises ValueError
    where there is none, or one that is damaged, or the hub cannot be used.

    >>> from_pretrained("no/such folder")
    Traceback (most recent call last):
    ...
    pipeline.errors.RunError: expected a folder, or a repository such as user/name, found 'no/such folder'
    """
    if Path(reference).is_dir():
        if revision is not None:
            raise RunError(f"revision={revision!r} is of a repository; {reference} is a folder")
        return hub.load_hub_folder(Path(reference)).network
    if not hub.REPOSITORY.fullmatch(str(reference)):
        raise RunError(f"expected a folder, or a repository such as user/name, found {str(reference)!r}")
    return hub.download(str(reference), revision).network
