"""The mean of a network's weights over the steps of training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of the weights, and of BatchNorm's statistics with them (as by Gowal et al. 2020).

    After t steps it is sum_i d^(t-i) w_i / sum_i d^(t-i), i = 1..t: the first weights count no more than their share,
    as in Adam's moments, so that it also serves trainings that are shorter than 1 / (1 - d) steps.

    network: a copy with the averaged weights.  decay: d, 0 <= d < 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights after one more step."""
        self._steps += 1
        share = (1 - self._decay) / (1 - self._decay**self._steps)
        for mean, value in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    def state(self) -> dict[str, Any]:
        """Collect all that `restore` needs."""
        return {"network": self.network.state_dict(), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["network"])
        self._steps = state["steps"]
