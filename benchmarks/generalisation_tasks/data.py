"""What the tasks learn from: images, tables, text and made-up sequences, each in two parts, one of them held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

HELD_OUT = 0.2  # of all examples
SPLIT_SEED = 2024
LENGTH = 24  # letters of a piece of text
NUMBERS = 23  # prime: of the sums
SYMBOLS, SORTED = 8, 6  # symbols, and how many of them a sequence to be sorted has
IMAGES = 5000  # of CIFAR-10
CIFAR = "cifar"  # starts the names of sources that a folder of CIFAR-10 makes


@dataclass(frozen=True)
class Examples:
    """Inputs and targets [N, ...] to train on, and held-out ones.

    outputs: numbers that a network gives for a target: classes, or 1 for a real number.  symbols: of inputs that are
    integers, 0 for others.
    """

    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    outputs: int
    symbols: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input."""
        return tuple(self.train[0].shape[1:])


def divided(inputs: Tensor, targets: Tensor, outputs: int, *, symbols: int = 0, standardised: bool = False) -> Examples:
    """Shuffle and divide. standardised: by mean and deviation, over the images or of each column of a table."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(SPLIT_SEED))
    inputs, targets = inputs[order], targets[order]
    count = round((1 - HELD_OUT) * len(inputs))
    if standardised:
        axes = [0, *range(2, inputs.dim())]
        deviation, mean = torch.std_mean(inputs[:count], axes, keepdim=True)
        inputs = (inputs - mean) / deviation
    return Examples((inputs[:count], targets[:count]), (inputs[count:], targets[count:]), outputs, symbols)


def digits(*, scale: float = 1 / 16, standardised: bool = False) -> Examples:
    """Grey images [N, 1, 8, 8] of scikit-learn; 0 to 16 where scale is 1."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) * scale
    return divided(images, torch.from_numpy(found.target), 10, standardised=standardised)


def digit_rows() -> Examples:
    """The digits as sequences of 8 rows: [N, 8, 8]."""
    found = digits()
    train, held_out = ((images.squeeze(1), labels) for images, labels in (found.train, found.held_out))
    return Examples(train, held_out, 10)


def measurements(name: str, *, standardised: bool = True) -> Examples:
    """One of scikit-learn's tables [N, columns]: wine, breast_cancer, or diabetes with a real target, standardised."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    inputs = torch.from_numpy(found.data).float()
    if name != "diabetes":
        return divided(inputs, torch.from_numpy(found.target), len(found.target_names), standardised=standardised)
    target = torch.from_numpy(found.target).float()
    return divided(inputs, (target - target.mean()) / target.std(), 1, standardised=standardised)


def text() -> Examples:
    """Letters of the English descriptions of scikit-learn's data sets, and at each place the next one: [N, 24]."""
    from sklearn import datasets

    names = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
    letters = "".join(getattr(datasets, f"load_{name}")().DESCR for name in names)
    numbers = {letter: number for number, letter in enumerate(sorted(set(letters)))}
    coded = torch.tensor([numbers[letter] for letter in letters])
    pieces = coded[: (len(coded) - 1) // LENGTH * LENGTH + 1]
    return divided(pieces[:-1].view(-1, LENGTH), pieces[1:].view(-1, LENGTH), len(numbers), symbols=len(numbers))


def sums() -> Examples:
    """All pairs of numbers below 23, and their sum modulo 23: [529, 2]."""
    pairs = torch.cartesian_prod(torch.arange(NUMBERS), torch.arange(NUMBERS))
    return divided(pairs, pairs.sum(1) % NUMBERS, NUMBERS, symbols=NUMBERS)


def to_be_sorted() -> Examples:
    """Sequences of six out of eight symbols, and the same in order: [4000, 6]."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    sequences = torch.randint(SYMBOLS, (4000, SORTED), generator=generator)
    return divided(sequences, sequences.sort(1).values, SYMBOLS, symbols=SYMBOLS)


def spirals() -> Examples:
    """Points of two spirals in the plane: [1000, 2]."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    labels = torch.arange(1000) % 2
    angle = 3 + 9 * torch.rand(1000, generator=generator)
    turned = angle + torch.pi * labels
    points = torch.stack([turned.cos(), turned.sin()], 1) * (angle / 12)[:, None]
    return divided(points + 0.02 * torch.randn(points.shape, generator=generator), labels, 2)


def waves() -> Examples:
    """Noisy waves of four frequencies as sequences: [1500, 16, 1], and which frequency it is."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    labels = torch.randint(4, (1500,), generator=generator)
    phase = 2 * torch.pi * torch.rand(1500, 1, generator=generator)
    values = (torch.arange(16) * 0.3 * (1 + labels[:, None]) + phase).sin()
    return divided((values + 0.3 * torch.randn(values.shape, generator=generator)).unsqueeze(-1), labels, 4)


SOURCES: Mapping[str, Callable[[], Examples]] = {
    "digits": digits,
    "digits, 0 to 16": partial(digits, scale=1.0),
    "digits, standardised": partial(digits, standardised=True),
    "rows of digits": digit_rows,
    "wine, raw": partial(measurements, "wine", standardised=False),
    "cancer": partial(measurements, "breast_cancer"),
    "cancer, raw": partial(measurements, "breast_cancer", standardised=False),
    "diabetes": partial(measurements, "diabetes"),
    "text": text,
    "sums": sums,
    "sorting": to_be_sorted,
    "spirals": spirals,
    "waves": waves,
}
"""Those that need no file."""


@cache
def examples(source: str, folder: Path | None = None) -> Examples:
    """Make the examples of a source; those of CIFAR-10 from the images in a folder."""
    if not source.startswith(CIFAR):
        return SOURCES[source]()
    if folder is None:
        raise ValueError(f"{source} needs the folder of CIFAR-10: give --cifar")
    return colour_images(folder, standardised="standardised" in source)


def colour_images(folder: Path, *, standardised: bool) -> Examples:
    """The first 5,000 training images of a folder: [N, 3, H, W] in [0, 1], before they are standardised."""
    from e2rnas.cli.app import compose_experiment
    from pipeline.data import load

    data = load(compose_experiment(["data=huggingface", f"data.path={folder}", f"data.limit={IMAGES}"]).data)
    chosen = data.train.take(torch.arange(min(IMAGES, len(data.train)))).kept()
    return divided(chosen.images.float() / 255, chosen.labels, data.num_classes, standardised=standardised)


def mean_loss(kind: str, found: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of a batch: cross entropy in nats, squared error, or that of saying the input again."""
    if kind == "cross entropy":
        return F.cross_entropy(found.flatten(0, -2), targets.flatten())
    return F.mse_loss(found.flatten(), (inputs if kind == "reconstruction" else targets).flatten())
