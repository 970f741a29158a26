"""The stack of cells that supernet, network and cost share: which cell reduces, how wide and large each state is.

Two stacks are known. That of DARTS (Liu et al. 2019) reduces by cells, which read the two cells before. That of
NAS-Bench-201 (Dong & Yang 2020) has one kind of cell, which reads the cell before, and reduces by residual blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_space.cells.genotype import CELL_INPUTS

STEM_MULTIPLIER = 3
MINIMUM_LAYERS = 3  # fewer have no normal cell, or only one reduction
MINIMUM_IMAGE_SIZE = 8  # two reductions leave 2x2


@dataclass(frozen=True)
class CellPlan:
    """One cell of the stack.

    channels: of each of its nodes.  input_channels: of the outputs of the cells before that it reads, two or one.
    reduces_first_input: the first input is twice as large as the second.  size: side of its inputs, in pixels.
    residual: a residual block stands here instead of a cell.
    """

    reduction: bool
    channels: int
    input_channels: tuple[int, ...]
    reduces_first_input: bool
    size: int
    residual: bool = False

    def stride(self, source: int) -> int:
        """Stride of an edge that leaves state `source`."""
        return 2 if self.reduction and source < CELL_INPUTS else 1

    def source_size(self, source: int) -> int:
        """Side of state `source`, in pixels."""
        return halved(self.size) if self.reduction and source >= CELL_INPUTS else self.size


@dataclass(frozen=True)
class Skeleton:
    """All cells of a network; `auxiliary_layer` is the cell whose output feeds the auxiliary head.

    normalises_features: batch norm and ReLU stand before the classifier.
    """

    cells: tuple[CellPlan, ...]
    stem_channels: int
    features: int
    auxiliary_layer: int
    auxiliary_features: int
    final_size: int
    normalises_features: bool = False


def halved(size: int) -> int:
    """Side of a map after an operation of stride 2."""
    return (size + 1) // 2


def plan_skeleton(*, channels: int, layers: int, widths: tuple[int, ...], image_size: int = 32) -> Skeleton:
    """Cells of the stack: reductions at 1/3 and 2/3 of the depth, where the channels double.

    channels: of the nodes of the first cell.  image_size: side of the (square) images, in pixels.
    widths: concatenated states of the normal and the reduction cell; of one kind of cell alone, for NAS-Bench-201's
    stack, whose residual blocks count as layers: 17 layers are the benchmark's three stages of 5 cells.
    """
    _check(channels, layers, image_size)
    reductions = (layers // 3, 2 * layers // 3)
    if len(widths) == 1:
        return _one_input_stack(channels, layers, reductions, image_size)
    return _two_input_stack(channels, layers, reductions, widths, image_size)


def _two_input_stack(
    channels: int, layers: int, reductions: tuple[int, int], widths: tuple[int, ...], size: int
) -> Skeleton:
    before, last = STEM_MULTIPLIER * channels, STEM_MULTIPLIER * channels
    reduced_before = False
    cells: list[CellPlan] = []
    auxiliary_features = 0
    for layer in range(layers):
        reduction = layer in reductions
        channels *= 2 if reduction else 1
        cells.append(CellPlan(reduction, channels, (before, last), reduced_before, size))
        before, last = last, widths[reduction] * channels
        size, reduced_before = (halved(size) if reduction else size), reduction
        if layer == reductions[1]:
            auxiliary_features = last
    return Skeleton(tuple(cells), cells[0].input_channels[0], last, reductions[1], auxiliary_features, size)


def _one_input_stack(channels: int, layers: int, reductions: tuple[int, int], size: int) -> Skeleton:
    stem_channels = last = channels
    cells: list[CellPlan] = []
    for layer in range(layers):
        reduction = layer in reductions
        channels *= 2 if reduction else 1
        cells.append(CellPlan(reduction, channels, (last,), False, size, residual=reduction))
        last, size = channels, (halved(size) if reduction else size)
    # from the second reduction on, all features are as wide as the last
    return Skeleton(tuple(cells), stem_channels, last, reductions[1], last, size, normalises_features=True)


def _check(channels: int, layers: int, image_size: int) -> None:
    minima = {
        "channels": (channels, 1),
        "layers": (layers, MINIMUM_LAYERS),
        "image_size": (image_size, MINIMUM_IMAGE_SIZE),
    }
    for name, (value, minimum) in minima.items():
        if not isinstance(value, int) or value < minimum:
            raise ValueError(f"{name} must be a whole number of at least {minimum}, found {value!r}")
