"""The objectives there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class ObjectiveOption(Option):
    """An objective; the code of a loss on images takes SupernetLosses and a batch of validation images.

    is_size: the distance of the network's size from its bounds, which a cost table gives; it has no code.
    """

    is_size: bool = False


OBJECTIVES: Mapping[str, ObjectiveOption] = {
    "accuracy": ObjectiveOption(
        label="accuracy",
        meaning="the cross entropy on clean images",
        code="pipeline.search.supernet_losses:clean_loss",
    ),
    "robustness": ObjectiveOption(
        label="robustness",
        meaning="the cross entropy on images that `attack` has changed",
        code="pipeline.search.supernet_losses:attacked_loss",
    ),
    "parameters": ObjectiveOption(
        label="parameters", meaning="the derived network's parameters, outside `objectives.parameters`", is_size=True
    ),
    "macs": ObjectiveOption(
        label="MACs", meaning="its multiply-accumulates for one image, outside `objectives.macs`", is_size=True
    ),
}
