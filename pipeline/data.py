"""Images: loading, splitting, batching and augmenting. Small sets live on the device as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.image_checks import check_classes, check_form, decoded, first_line, labels_of
from pipeline.settings import DataSettings

DIGITS_TEST_FRACTION = 0.2
SPLIT_SEED = 0  # subsets and test images are part of a data set, not of a run
NOWHERE = -1  # of a pixel that augmentation brought in: padding or cutout


@dataclass(frozen=True)
class Images:
    """images: uint8 [N, C, H, W].  labels: int64 [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Images:
        """The images at `indices`, in that order."""
        return Images(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> Images:
        """The same images on a device."""
        return Images(self.images.to(device), self.labels.to(device))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, float in [0, 1], `size` at once."""
        for first in range(0, len(self), size):
            yield as_float(self.images[first : first + size]), self.labels[first : first + size]

    def shuffled_batches(
        self, size: int, seed: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in an order drawn from `seed`, without the incomplete last batch; float in [0, 1].

        share: (rank, processes); each process gets every processes-th image of each batch of `size`.
        """
        for indices in self.shuffled_indices(size, seed, share):
            yield as_float(self.images[indices]), self.labels[indices]

    def shuffled_indices(self, size: int, seed: int, share: tuple[int, int] = (0, 1)) -> Iterator[Tensor]:
        """Which images each of these batches holds: int64 [size / processes]."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).to(self.labels.device)
        rank, processes = share
        for first in range(0, len(self) - size + 1, size):
            yield order[first : first + size][rank::processes]


@dataclass(frozen=True)
class Origin:
    """Where the images of a batch come from.

    indices: int64 [N], in a part of the training set.  source: int64 [N, H * W], as `Augmentation.traced` gives it.
    """

    part: str
    indices: Tensor
    source: Tensor


@dataclass(frozen=True)
class Batch:
    """images: float [N, C, H, W] in [0, 1].  labels: int64 [N].  origin: where it is kept, that of the images."""

    images: Tensor
    labels: Tensor
    origin: Origin | None = None


@dataclass(frozen=True)
class ImageData:
    """A data set. Evaluation alone reads `test`."""

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.images.shape[2])

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel of the training images, in [0, 1]."""
        pixels = self.train.images.transpose(0, 1).flatten(1)
        moments = [(channel.double().mean() / 255, channel.double().std(correction=0) / 255) for channel in pixels]
        return [mean.item() for mean, _ in moments], [max(std.item(), 1e-3) for _, std in moments]


def as_float(images: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1]."""
    return images.float().div_(255)


def load(settings: DataSettings) -> ImageData:
    """The data set that the settings name. Raises ValueError that says what is wrong with it."""
    data = _digits() if settings.source == "digits" else _huggingface(settings)
    train = _balanced_subset(data.train, settings.limit, "data.limit")
    test = _balanced_subset(data.test, settings.test_limit, "data.test_limit")
    return replace(data, train=train, test=test)


@dataclass(frozen=True)
class Augmentation:
    """Random crop, mirror and cutout of float images [N, C, H, W] in [0, 1], drawn from torch's global generator.

    pipeline: moves whole pixels and mixes none; None leaves images as they are.
    """

    pipeline: Callable[[Tensor], Tensor] | None

    def __call__(self, images: Tensor) -> Tensor:
        """The augmented images, of the same shape."""
        return images if self.pipeline is None else self.pipeline(images).clamp(0, 1)

    def traced(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and where each pixel [row, column] came from in its own image.

        -> images [N, C, H, W] and int64 [N, H * W]: row * W + column there, NOWHERE for padding and cutout.
        """
        batch, _, height, width = images.shape
        numbers = torch.arange(1, height * width + 1, device=images.device, dtype=torch.float64)  # 0 is padding
        canvas = torch.cat([images.double(), numbers.view(1, 1, height, width).expand(batch, -1, -1, -1)], dim=1)
        moved = canvas if self.pipeline is None else self.pipeline(canvas)
        source = moved[:, -1].flatten(1)
        is_cutout = source != source.round()  # its grey is no pixel's number
        return moved[:, :-1].to(images).clamp(0, 1), torch.where(is_cutout, 0, source).long() - 1


def augmentation(settings: DataSettings, image_size: int) -> Augmentation:
    """The augmentation that the settings describe. Raises ValueError when a cutout covers the image."""
    import kornia.augmentation as augment  # here: a second of import that evaluation and export do not need

    if settings.cutout >= image_size:
        raise ValueError(f"data.cutout={settings.cutout} covers images of {image_size} pixels a side")
    steps: list[Any] = []
    if settings.crop_padding:
        steps.append(augment.RandomCrop((image_size, image_size), padding=settings.crop_padding))
    if settings.flip:
        steps.append(augment.RandomHorizontalFlip(p=0.5))
    if settings.cutout:
        part = (settings.cutout / image_size) ** 2
        steps.append(augment.RandomErasing(p=1.0, scale=(part, part), ratio=(1.0, 1.0), value=0.5))
    return Augmentation(augment.AugmentationSequential(*steps) if steps else None)


def split(images: Images, fraction: float, seed: int) -> tuple[Images, Images]:
    """Two disjoint parts, the second with `fraction` of each class; drawn from `seed`."""
    rng = np.random.default_rng(seed)
    labels = images.labels.cpu().numpy()
    second = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        second[of_class[: round(fraction * len(of_class))]] = True
    if second.all() or not second.any():
        raise ValueError(
            f"{len(labels)} images are too few to split off a fraction of {fraction}: of every class it leaves "
            f"{'none' if second.all() else 'all'}, and expected are both parts"
        )
    return images.take(torch.from_numpy(np.flatnonzero(~second))), images.take(torch.from_numpy(np.flatnonzero(second)))


def balanced_indices(labels: Sequence[int] | np.ndarray[Any, Any], limit: int) -> np.ndarray[Any, Any]:
    """Sorted indices of `limit` items whose classes differ in number by at most one, where each class has enough."""
    rng = np.random.default_rng(SPLIT_SEED)
    labels = np.asarray(labels)
    # the k-th item of every class comes before the (k+1)-th of any: taking the first ones is balanced
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        rank[of_class] = np.arange(len(of_class))
    return np.sort(np.lexsort((labels, rank))[:limit])


def _balanced_subset(images: Images, limit: int | None, key: str) -> Images:
    if limit is None or limit == len(images):
        return images
    _check_limit(limit, len(images), key)
    return images.take(torch.from_numpy(balanced_indices(images.labels.numpy(), limit)))


def _check_limit(limit: int, available: int, key: str) -> None:
    if limit > available:
        raise ValueError(f"{key}={limit} asks for more than the {available} images there are")


def _digits() -> ImageData:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = torch.from_numpy(np.round(digits.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=DIGITS_TEST_FRACTION, stratify=digits.target, random_state=SPLIT_SEED
    )
    everything = Images(pixels, labels)
    names = tuple(str(name) for name in digits.target_names)
    return ImageData("digits", everything.take(torch.from_numpy(train)), everything.take(torch.from_numpy(test)), names)


def _huggingface(settings: DataSettings) -> ImageData:
    import datasets

    if settings.path is None:
        raise ValueError("data.path names a local folder or a set on the hub")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs as errors is said here, in one line
    parts: list[Images] = []
    names: tuple[str, ...] = ()
    for split_name, limit, key in (
        (settings.train_split, settings.limit, "data.limit"),
        (settings.test_split, settings.test_limit, "data.test_limit"),
    ):
        table = _load_split(datasets, settings, split_name)
        image_column, label_column = _columns(datasets, table.features, settings)
        found = tuple(table.features[label_column].names)
        if names and found != names:
            raise ValueError(f"the classes of {settings.test_split} are not those of {settings.train_split}, in order")
        names = found
        check_classes(Path(settings.path), label_column, names)
        if limit is not None:  # before decoding, which is what takes the time
            _check_limit(limit, len(table), key)
            table = table.select(balanced_indices(np.asarray(table[label_column]), limit))
        try:
            parts.append(_decode(table, image_column, label_column, len(names)))
        except ValueError as error:
            raise ValueError(f"split {split_name!r} of data.path={settings.path}: {error}") from None
    train, test = parts
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(f"train images are {list(train.images.shape[1:])}, test images {list(test.images.shape[1:])}")
    return ImageData(settings.name or Path(settings.path).name, train, test, names)


def _load_split(datasets: Any, settings: DataSettings, split_name: str) -> Any:
    try:
        return datasets.load_dataset(settings.path, settings.configuration, split=split_name)
    except Exception as error:  # datasets raises a dozen kinds; all mean that the set cannot be had as asked for
        reasons = dict.fromkeys((first_line(error), first_line(error.__cause__ or error)))
        raise ValueError(
            f"cannot load split {split_name!r} of data.path={settings.path}: {': '.join(reasons)}"
        ) from None


def _columns(datasets: Any, features: Any, settings: DataSettings) -> tuple[str, str]:
    found = []
    for key, wanted, kind in (
        ("image_column", settings.image_column, datasets.Image),
        ("label_column", settings.label_column, datasets.ClassLabel),
    ):
        fitting = [name for name, feature in features.items() if isinstance(feature, kind)]
        if wanted is None and len(fitting) == 1:
            wanted = fitting[0]
        if wanted is None or wanted not in fitting:
            raise ValueError(
                f"data.{key}={wanted or 'null'}: expected one column of type {kind.__name__}; "
                f"the set has {', '.join(fitting) or 'none'} among {', '.join(features)}"
            )
        found.append(wanted)
    return found[0], found[1]


def _decode(table: Any, image_column: str, label_column: str, num_classes: int) -> Images:
    if not len(table):
        raise ValueError("expected images, found none")
    labels = labels_of(table[label_column], num_classes)
    pixels = np.empty(0, dtype=np.uint8)
    for index, image in enumerate(decoded(table, image_column)):
        if index == 0:
            check_form(image, len(table))
            pixels = np.empty((len(table), *image.shape), dtype=np.uint8)
        if image.shape != pixels.shape[1:]:
            raise ValueError(f"image {index} is {image.shape} uint8; the first is {pixels.shape[1:]} uint8")
        pixels[index] = image
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return Images(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels)
