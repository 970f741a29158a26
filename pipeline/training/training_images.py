"""The images of a retraining: most train the network, the rest are held back and judge it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, islice, repeat

from lightning_fabric import Fabric
from torch import Tensor

from pipeline.compute.processes import share_of
from pipeline.compute.seeds import stream_seed
from pipeline.data import ImageData, augmentation, split
from pipeline.settings import Experiment

STAGE = "retrain"


class TrainingImages:
    """Holds the two parts of the training set, disjoint and on the device.

    train, held_back: what trains, and what judges.  steps_per_epoch: batches of `train`.
    augment: changes a batch of training images at random.
    Raises ValueError where `train` has not the images of one batch.
    """

    def __init__(self, experiment: Experiment, data: ImageData, fabric: Fabric) -> None:
        settings = experiment.retrain
        self._seed, self._size, self._share = experiment.seed, settings.batch_size, share_of(fabric)
        self.augment = augmentation(experiment.data, data.image_size)
        part_seed = stream_seed(experiment.seed, "held back")
        train, held_back = split(data.train, settings.held_back, part_seed, key="retrain.held_back")
        self.train, self.held_back = train.to(fabric.device), held_back.to(fabric.device)
        self.steps_per_epoch = len(train) // settings.batch_size
        if not self.steps_per_epoch:
            raise ValueError(
                f"retrain.batch_size={settings.batch_size} is larger than the {len(train)} training images: "
                "give a smaller one"
            )

    def batches(self, epoch: int, *, done: int, replays: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield augmented images and labels of each step of an epoch, but for those that are done.

        Free training takes the same batch `replays` times, the last one of an epoch as often as there are steps left;
        the next epoch goes on in the order of the images where this one ends, so that each has its turn.
        """
        distinct = -(-self.steps_per_epoch // replays)
        turn, first = divmod(epoch * distinct, self.steps_per_epoch)
        indices = chain.from_iterable(map(self.indices, count(turn)))
        chosen = islice(indices, first + done // replays, first + distinct)
        return islice(self._replayed(chosen, replays), self.steps_per_epoch - done)

    def indices(self, turn: int) -> Iterator[Tensor]:
        """Yield which images each batch of one turn through all of them holds."""
        return self.train.shuffled_indices(self._size, stream_seed(self._seed, STAGE, "order", turn), self._share)

    def _replayed(self, chosen: Iterable[Tensor], replays: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _, images, labels in self.train.read(chosen):
            yield from repeat((self.augment(images), labels), replays)
