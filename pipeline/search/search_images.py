"""The images of a search: one part trains the weights, the other the alphas, in batches that come in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Literal

from lightning_fabric import Fabric
from torch import Tensor

from pipeline.compute.processes import share_of
from pipeline.compute.seeds import stream_seed
from pipeline.data import Batch, ImageData, ImageSet, Origin, augmentation, split
from pipeline.errors import RunError
from pipeline.settings import Experiment

STAGE = "search"
ImagePart = Literal["weights", "alphas"]


class SearchImages:
    """The two parts of the training set, disjoint and on the device.

    parts: by what they train.  steps_per_epoch: batches of the part that trains the weights.
    Raises ValueError where a part has not the images of one batch.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        settings = experiment.search
        self._seed, self._size, self._share = experiment.seed, settings.batch_size, share_of(fabric)
        self._augment = augmentation(experiment.data, data.image_size)
        part_seed = stream_seed(experiment.seed, "split")
        weights, alphas = split(data.train, settings.alpha_split, part_seed, key="search.alpha_split")
        self.parts: dict[str, ImageSet] = {"weights": weights.to(fabric.device), "alphas": alphas.to(fabric.device)}
        self.steps_per_epoch = len(weights) // settings.batch_size
        if not self.steps_per_epoch or len(alphas) < settings.batch_size:
            raise ValueError(
                f"search.batch_size={settings.batch_size} is larger than a part of the training set "
                f"({len(weights)} images for weights, {len(alphas)} for alphas): give a smaller one"
            )

    def batches(self, epoch: int, *, done: int, traced: bool) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of augmented batches for weights and alphas of an epoch, but for the first `done`.

        The images of the alphas start anew as often as those of the weights last.
        traced: whether batches know where their pixels come from.
        """
        weight_seed = stream_seed(self._seed, STAGE, "weights", epoch)
        chosen = self.parts["weights"].shuffled_indices(self._size, weight_seed, self._share)
        own, alphas = (islice(indices, done, None) for indices in (chosen, self._alpha_indices(epoch)))
        return zip(self._read("weights", own, traced), self._read("alphas", alphas, traced), strict=False)

    def hold_back(self, part: float, seed: int, *, key: str) -> ImageSet:
        """Take a part of the alphas' images away, by class, and return it. key: setting that errors name."""
        kept, held_back = split(self.parts["alphas"], part, seed, key=key)
        if len(kept) < self._size:
            raise RunError(
                f"search.batch_size={self._size} is larger than the {len(kept)} images that {key}={part} leaves for "
                f"the alphas"
            )
        self.parts["alphas"] = kept
        return held_back

    def _alpha_indices(self, epoch: int) -> Iterator[Tensor]:
        for again in count():
            seed = stream_seed(self._seed, STAGE, "alphas", epoch, again)
            yield from self.parts["alphas"].shuffled_indices(self._size, seed, self._share)

    def _read(self, part: ImagePart, chosen: Iterable[Tensor], traced: bool) -> Iterator[Batch]:
        for indices, plain, labels in self.parts[part].read(chosen):
            if not traced:
                yield Batch(self._augment(plain), labels)
            else:
                augmented, source = self._augment.traced(plain)
                yield Batch(augmented, labels, Origin(part, indices, source))
