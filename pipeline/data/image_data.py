"""A data set: images to train on, images to be tested on, and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipeline.data.images import ImageSet
from pipeline.data.statistics import mean_and_deviation
from search_space import NetworkShape


@dataclass(frozen=True)
class ImageData:
    """A data set. Evaluation alone reads `test`."""

    name: str
    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.train.shape[0]

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return self.train.shape[1]

    def network_shape(self, *, channels: int, layers: int) -> NetworkShape:
        """Return the shape of a network for these images, with so many channels in its first cell and so many cells."""
        return NetworkShape(
            channels=channels,
            layers=layers,
            num_classes=self.num_classes,
            image_size=self.image_size,
            in_channels=self.in_channels,
        )

    def statistics(self) -> tuple[list[float], list[float]]:
        """Return the mean and standard deviation of each channel of the training images, in [0, 1].

        Of all or, where there are more than `statistics.MOST_COUNTED`, of a sample of so many; they are read once.
        """
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[list[float], list[float]]:
        return mean_and_deviation(self.train)
