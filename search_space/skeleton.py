"""The stack of cells that supernet, network and cost share: which cell reduces, how wide and large each state is."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.genotype import CELL_INPUTS

STEM_MULTIPLIER = 3
MINIMUM_LAYERS = 3  # fewer have no normal cell, or only one reduction
MINIMUM_IMAGE_SIZE = 8  # two reductions leave 2x2


@dataclass(frozen=True)
class CellPlan:
    """One cell of the stack.

    channels: of each of its nodes.  input_channels: of the outputs of the two cells before.
    reduces_first_input: the first input is twice as large as the second.  size: side of its inputs, in pixels.
    """

    reduction: bool
    channels: int
    input_channels: tuple[int, int]
    reduces_first_input: bool
    size: int

    def stride(self, source: int) -> int:
        """Stride of an edge that leaves state `source`."""
        return 2 if self.reduction and source < CELL_INPUTS else 1

    def source_size(self, source: int) -> int:
        """Side of state `source`, in pixels."""
        return halved(self.size) if self.reduction and source >= CELL_INPUTS else self.size


@dataclass(frozen=True)
class Skeleton:
    """All cells of a network; `auxiliary_layer` is the cell whose output feeds the auxiliary head."""

    cells: tuple[CellPlan, ...]
    stem_channels: int
    features: int
    auxiliary_layer: int
    auxiliary_features: int
    final_size: int


def halved(size: int) -> int:
    """Side of a map after an operation of stride 2."""
    return (size + 1) // 2


def plan_skeleton(*, channels: int, layers: int, widths: tuple[int, int], image_size: int = 32) -> Skeleton:
    """Cells of the DARTS stack: reductions at 1/3 and 2/3 of the depth, where the channels double.

    channels: of the nodes of the first cell.  widths: concatenated states of the normal and the reduction cell.
    image_size: side of the (square) images, in pixels.
    """
    _check(channels, layers, image_size)
    reductions = {layers // 3, 2 * layers // 3}
    before, last = STEM_MULTIPLIER * channels, STEM_MULTIPLIER * channels
    size, reduced_before = image_size, False
    cells: list[CellPlan] = []
    auxiliary_features = 0
    for layer in range(layers):
        reduction = layer in reductions
        channels *= 2 if reduction else 1
        cells.append(CellPlan(reduction, channels, (before, last), reduced_before, size))
        before, last = last, widths[reduction] * channels
        size, reduced_before = (halved(size) if reduction else size), reduction
        if layer == 2 * layers // 3:
            auxiliary_features = last
    return Skeleton(tuple(cells), cells[0].input_channels[0], last, 2 * layers // 3, auxiliary_features, size)


def _check(channels: int, layers: int, image_size: int) -> None:
    minima = {
        "channels": (channels, 1),
        "layers": (layers, MINIMUM_LAYERS),
        "image_size": (image_size, MINIMUM_IMAGE_SIZE),
    }
    for name, (value, minimum) in minima.items():
        if not isinstance(value, int) or value < minimum:
            raise ValueError(f"{name} must be a whole number of at least {minimum}, found {value!r}")
